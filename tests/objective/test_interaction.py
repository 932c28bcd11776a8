"""Decoder interaction: which pieces are compared, who learns from whom, and with which weight."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtnat.config import build, replace
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.model import ModelConfig
from mtnat.model.flops import ModelFlops
from mtnat.objective import Draw, Moment, MultiTaskObjective, ObjectiveConfig
from mtnat.objective.schedules import Constant, Linear, Schedule
from mtnat.systems import Branch, Glat, MaskPredict, System, branch_of
from mtnat.tokens import EOS, PAD

SOURCE = torch.tensor([[10, 11, 12, EOS], [13, EOS, PAD, PAD], [14, 15, EOS, PAD], [16, 17, 18, EOS]])
TARGET = torch.tensor([[20, 21, 22, EOS, PAD], [23, EOS, PAD, PAD, PAD], [24, 25, 26, 27, EOS], [28, 29, EOS, PAD, PAD]])
MODEL = ModelConfig(width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=2, dropout=0, max_positions=32)
HALF = Constant(value=0.5)
MASK_PREDICT, GLAT = MaskPredict(), Glat()
MIDDLE = Moment(50, 100, 3)


def build_objective(system: System = MASK_PREDICT, schedule: Schedule = HALF, **settings: Any) -> MultiTaskObjective:
    config = build(ObjectiveConfig, {"schedule": schedule.model_dump(), "interaction": "at-to-nat", **settings})
    experiment = build(
        Experiment,
        {"data": {"corpus": "grammar-en-de"}, "training": {}, "system": system.model_dump(), "model": MODEL.model_dump()}
        | {"objective": config.model_dump(), "data": {"corpus": "grammar-en-de", "max_length": 32}},
    )
    torch.manual_seed(0)
    return experiment.build_objective(experiment.translator_of(30, 30, joint=True)).train()


def draw_of(objective: MultiTaskObjective, seed: int = 1, step: int = 50) -> Draw:
    return objective.draw(SOURCE, TARGET, Moment(step, 100), torch.Generator().manual_seed(seed))


def scales(objective: MultiTaskObjective, draw: Draw, only: str | None = None) -> dict[str, Tensor]:
    weights = objective.weights_at(50, 100)
    return {
        part: torch.tensor(weight / max(1.0, draw.divisors[part]) if only in (None, part) else 0.0)
        for part, weight in weights.items()
    }


def losses(objective: MultiTaskObjective, draw: Draw) -> dict[str, tuple[float, float]]:
    """The sum and the count of each part."""
    torch.manual_seed(MIDDLE.dropout_seed)
    _, sums, counts = objective(draw, scales(objective, draw), MIDDLE)
    return {part: (float(sums[number]), float(counts[number])) for number, part in enumerate(objective.parts)}


def gradients(objective: MultiTaskObjective, draw: Draw, only: str | None = None) -> dict[str, Tensor]:
    """The gradient of the weighted total, or of one part, by parameter; 0 where there is none."""
    objective.zero_grad(set_to_none=True)
    total, _, _ = objective(draw, scales(objective, draw, only), MIDDLE)
    total.backward()
    named = objective.translator.named_parameters()
    return {name: torch.zeros_like(each) if each.grad is None else each.grad.clone() for name, each in named}


def branch(objective: MultiTaskObjective, name: str) -> Branch:
    return branch_of(objective.translator, name)


def log_probabilities(objective: MultiTaskObjective, draw: Draw, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Those of the AT and the NAT branch of Mask-Predict at every position of the batch, and what is compared.

    Both run on all sentences here; the places that are compared are those that both have a loss at.
    """
    encoded = objective.translator.encode(SOURCE)
    found, is_predicted = [], []
    for name in ("at", "nat"):
        noise = draw.noise[name]
        input_BT = torch.full_like(TARGET, PAD)
        rows = torch.arange(len(SOURCE)) if noise.rows_R is None else noise.rows_R
        input_BT[rows] = noise.tensors["input"]
        logits_BTV = branch(objective, name).decoder.logits(encoded, input_BT)  # type: ignore[operator, union-attr]
        found.append(F.log_softmax(logits_BTV / temperature, 2))
        assert noise.read is not None
        is_read_BT = torch.zeros_like(TARGET, dtype=torch.bool)
        is_read_BT[rows] = noise.tensors[noise.read]
        is_predicted.append(is_read_BT)
    return found[0], found[1], is_predicted[0] & is_predicted[1]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_parts_are_the_divergences_at_the_masked_pieces_of_the_sentences_that_both_see(
    fraction: float, temperature: float
) -> None:
    objective = build_objective(
        interaction="both", interaction_temperature=temperature, interaction_detached=False, at_fraction=fraction
    )
    assert objective.parts == ("at", "nat", "length", "at_to_nat", "nat_to_at")
    for seed in range(3):
        draw = draw_of(objective, seed)
        found = losses(objective, draw)
        at_BTV, nat_BTV, is_shared_BT = log_probabilities(objective, draw, temperature)
        assert is_shared_BT[TARGET == EOS].sum() == 0
        at, nat = at_BTV[is_shared_BT], nat_BTV[is_shared_BT]
        shared = int(is_shared_BT.sum())
        assert draw.divisors["at_to_nat"] == draw.divisors["nat_to_at"] == shared > 0
        expected = {
            "at_to_nat": F.kl_div(nat, at, log_target=True, reduction="sum").item() * temperature**2,
            "nat_to_at": F.kl_div(at, nat, log_target=True, reduction="sum").item() * temperature**2,
        }
        for part, value in expected.items():
            assert found[part][0] == pytest.approx(value, rel=1e-4)
            assert found[part][1] == shared


def test_without_interaction_the_other_parts_are_the_same() -> None:
    plain, interacting = build_objective(interaction="none"), build_objective(interaction="both")
    assert plain.parts == ("at", "nat", "length")
    found = losses(interacting, draw_of(interacting))
    for part, (total, count) in losses(plain, draw_of(plain)).items():
        assert found[part][0] == pytest.approx(total)
        assert found[part][1] == count


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(("interaction", "teacher"), [("at-to-nat", "at"), ("nat-to-at", "nat")])
def test_a_detached_divergence_trains_its_student_only(interaction: str, teacher: str, passes: int) -> None:
    objective = build_objective(interaction=interaction, encoder_passes=passes)
    part = interaction.replace("-", "_")
    found = gradients(objective, draw_of(objective), only=part)
    student = {"at": "nat", "nat": "at"}[teacher]
    for name, gradient in found.items():
        if name.startswith(f"branches.{teacher}."):
            assert not gradient.any(), name
        elif name.startswith((f"branches.{student}.decoder", "encoder")):
            assert gradient.any(), name


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("interaction", ["at-to-nat", "nat-to-at", "both"])
@pytest.mark.parametrize("detached", [True, False])
def test_the_gradients_are_those_of_an_ordinary_backward_pass(interaction: str, detached: bool, passes: int) -> None:
    """Eq. 1 with interaction, from all logits at once."""
    objective = build_objective(
        interaction=interaction, interaction_detached=detached, encoder_passes=passes, at_fraction=0.5, length_weight=0.0
    )
    draw = draw_of(objective)
    found = gradients(objective, draw)
    objective.zero_grad(set_to_none=True)
    encoded = objective.translator.encode(SOURCE)
    total = torch.zeros(())
    weights = objective.weights_at(50, 100)
    for name in ("at", "nat"):
        loss = branch(objective, name).losses(encoded, draw.noise[name], MIDDLE)[name]
        total = total + weights[name] * loss.sum / draw.divisors[name]
    at_BTV, nat_BTV, is_shared_BT = log_probabilities(objective, draw)
    at, nat = at_BTV[is_shared_BT], nat_BTV[is_shared_BT]
    for part, (p, q) in {"at_to_nat": (at, nat), "nat_to_at": (nat, at)}.items():
        if part in weights:
            divergence = F.kl_div(q, p.detach() if detached else p, log_target=True, reduction="sum")
            total = total + weights[part] * divergence / draw.divisors[part]
    total.backward()  # type: ignore[no-untyped-call]
    for name, weight in objective.translator.named_parameters():
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"interaction": "at-to-nat"}, {"at_to_nat": 0.5 * 0.25}),
        ({"interaction": "nat-to-at"}, {"nat_to_at": 0.5 * 0.75}),
        ({"interaction": "both"}, {"at_to_nat": 0.5 * 0.25, "nat_to_at": 0.5 * 0.75}),
        # 1·K with K = (KL(p || q) + KL(q || p)) / 2, whatever λ is
        (
            {"interaction": "both", "interaction_detached": False, "interaction_weight": 1.0},
            {"at_to_nat": 0.5, "nat_to_at": 0.5},
        ),
    ],
)
def test_a_part_has_the_mean_weight_of_the_branches_that_it_trains(settings: dict[str, Any], weights: dict[str, float]) -> None:
    objective = build_objective(schedule=Linear(), **settings)
    at = {"at": 0.75, "nat": 0.25, "length": 0.025}
    assert objective.weights_at(25, 100) == pytest.approx(at | weights)
    for step in (0, 100):  # one of the branches does not run
        assert all(objective.weights_at(step, 100)[part] == 0 for part in weights)
        assert all(draw_of(objective, step=step).divisors[part] == 0 for part in weights)


@pytest.mark.parametrize("step", [0, 100])
def test_a_branch_without_weight_leaves_the_other_its_own_loss(step: int) -> None:
    objective = build_objective(schedule=Linear())
    draw = draw_of(objective, step=step)
    moment, weights = Moment(step, 100, 3), objective.weights_at(step, 100)
    total, _, counts = objective(
        draw, {part: torch.tensor(weight / max(1.0, draw.divisors[part])) for part, weight in weights.items()}, moment
    )
    assert total.isfinite()
    ran = {part for part, count in zip(objective.parts, counts.tolist(), strict=True) if count}
    assert ran == ({"at"} if step == 0 else {"nat", "length"})


@pytest.mark.parametrize("system", [MASK_PREDICT, GLAT])
@pytest.mark.parametrize("settings", [{}, {"interaction": "both"}, {"interaction": "both", "interaction_detached": False}])
def test_the_micro_batches_of_a_batch_add_up_to_it(system: System, settings: dict[str, Any]) -> None:
    objective = build_objective(system, at_fraction=0.5, **settings)
    whole = draw_of(objective)
    for count in (2, 4):
        found = [losses(objective, part) for part in whole.split(count)]
        for part, (total, number) in losses(objective, whole).items():
            assert sum(each[part][0] for each in found) == pytest.approx(total, rel=1e-4, abs=1e-5)
            assert sum(each[part][1] for each in found) == number


def test_glat_compares_the_pieces_that_are_not_shown() -> None:
    objective = build_objective(Glat(start_ratio=1.0, end_ratio=1.0), interaction="both")
    found = losses(objective, draw_of(objective))
    assert 0 < found["nat"][1] < int((TARGET > EOS).sum())
    assert found["at_to_nat"][1] == found["nat_to_at"][1] == found["nat"][1]
    assert found["at_to_nat"][0] > 0


def test_interaction_counts_its_products_with_the_vocabulary() -> None:
    work = ModelFlops(MODEL, 30)
    settings: list[dict[str, Any]] = [{"interaction": "none"}, {}, {"interaction_detached": False}, {"interaction": "both"}]
    objectives = [build_objective(**each) for each in settings]
    without, detached, trained, both = (objective.flops(work, draw_of(objective)) for objective in objectives)
    one = work.vocabulary(int(draw_of(objectives[1]).divisors["at_to_nat"]))
    assert [detached - without, trained - without, both - without] == [4 * one, 6 * one, 8 * one]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"objective.estimator": "sampled"}, "objective.interaction: needs both decoders on the same sentences"),
        (
            {"objective.schedule": {"kind": "constant", "value": 1.0}},
            "objective.interaction: at-to-nat needs an objective that trains both decoders",
        ),
        (
            {"system.kind": "ctc", "decoding.kind": "ctc"},
            "objective.interaction: at-to-nat needs a system whose decoder has a position for each target piece; got ctc",
        ),
    ],
)
def test_settings_that_allow_no_comparison_are_refused(settings: dict[str, Any], problem: str) -> None:
    experiment = build(Experiment, {"data": {"corpus": "grammar-en-de"}, "training": {}})
    interacting = replace(experiment, {"objective.interaction": "at-to-nat"})
    with pytest.raises(ConfigError, match=problem):
        replace(interacting, settings)
