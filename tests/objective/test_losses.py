"""Eq. 1: its weights, its parts, its gradient, and its two estimators."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from translators import at, draw_of, gradients, nat, objective_of, translator_of

from mtnat.model import ModelConfig
from mtnat.objective import Draw, Moment, MultiTaskObjective, ObjectiveConfig
from mtnat.objective.schedules import Constant, Linear, Schedule
from mtnat.tokens import EOS, PAD

TARGET = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])
SOURCE = torch.tensor([[10, 11, EOS], [12, EOS, PAD]])
LINEAR = Linear()
START, MIDDLE, END = 0, 50, 100
"""Steps of 100 at which a linear λ is 0, 1/2 and 1."""


def build(schedule: Schedule = LINEAR, dropout: float = 0.0, **settings: float | str) -> MultiTaskObjective:
    torch.manual_seed(0)
    config = ObjectiveConfig.model_validate({"schedule": schedule, **settings})
    model = ModelConfig(
        width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=1, dropout=dropout, max_positions=32
    )
    return objective_of(translator_of(model, 30, config), config)


def total_of(objective: MultiTaskObjective, draw: Draw, weights: dict[str, float]) -> tuple[Tensor, Tensor, Tensor]:
    """The total, and the parts' sums and counts."""
    scales = {part: torch.tensor(weights[part] / max(1, draw.divisors[part])) for part in objective.parts}
    total, sums, counts = objective(draw, scales, Moment(MIDDLE, 100))
    return total, sums, counts


def losses(objective: MultiTaskObjective, weights: dict[str, float]) -> tuple[Tensor, dict[str, float]]:
    """The total of Eq. 1 and the mean of each part, over one draw."""
    # Any λ that runs the branches with weight will do.
    step = START if not weights["nat"] and not weights["length"] else END if not weights["at"] else MIDDLE
    total, sums, counts = total_of(objective, draw_of(objective, SOURCE, TARGET, step=step), weights)
    means = {part: float(sums[number]) / max(1.0, float(counts[number])) for number, part in enumerate(objective.parts)}
    return total, means


def gradient(objective: MultiTaskObjective, weights: dict[str, float]) -> Tensor:
    objective.zero_grad()
    losses(objective, weights)[0].backward()  # type: ignore[no-untyped-call]
    return flat(objective)


def flat(objective: MultiTaskObjective) -> Tensor:
    return torch.cat([each.flatten() for each in gradients(objective.translator).values()])


def test_the_weights_are_eq_1() -> None:
    objective = build(length_weight=0.1)
    assert objective.weights_at(0, 100) == {"at": 1.0, "nat": 0.0, "length": 0.0}
    assert objective.weights_at(25, 100) == pytest.approx({"at": 0.75, "nat": 0.25, "length": 0.025})
    assert objective.weights_at(100, 100) == pytest.approx({"at": 0.0, "nat": 1.0, "length": 0.1})


def test_the_parts_equal_torchs_label_smoothed_means_over_the_right_positions() -> None:
    objective = build(label_smoothing=0.1)
    _, parts = losses(objective, {"at": 1.0, "nat": 1.0, "length": 1.0})
    draw = draw_of(objective, SOURCE, TARGET, step=MIDDLE)
    translator = objective.translator
    at_input, nat_input = (draw.noise[name].tensors["input"] for name in ("at", "nat"))
    encoded = translator.encode(SOURCE)
    at_target = TARGET.masked_fill(TARGET == PAD, -100)
    at_logits = at(translator).decoder.logits(encoded, at_input)
    at_loss = F.cross_entropy(at_logits.flatten(0, 1), at_target.flatten(), label_smoothing=0.1)
    nat_target = TARGET.masked_fill(nat_input == TARGET, -100)
    nat_logits = nat(translator).decoder.logits(encoded, nat_input)
    nat_loss = F.cross_entropy(nat_logits.flatten(0, 1), nat_target.flatten(), label_smoothing=0.1)
    length = F.cross_entropy(nat(translator).length_logits(encoded), torch.tensor([3, 1]))
    assert parts == pytest.approx({"at": at_loss.item(), "nat": nat_loss.item(), "length": length.item()}, abs=1e-5)


def test_the_gradient_of_eq_1_is_the_weighted_sum_of_the_parts_gradients() -> None:
    objective = build()
    at = gradient(objective, {"at": 1.0, "nat": 0.0, "length": 0.0})
    nat = gradient(objective, {"at": 0.0, "nat": 1.0, "length": 0.0})
    length = gradient(objective, {"at": 0.0, "nat": 0.0, "length": 1.0})
    both = gradient(objective, build(Constant(value=0.3)).weights_at(0, 10))
    torch.testing.assert_close(both, 0.7 * at + 0.3 * nat + 0.03 * length, atol=1e-6, rtol=1e-4)
    encoder = torch.cat([parameter.flatten() for parameter in objective.translator.encoder.parameters()]).numel()
    assert encoder > 0
    assert at.norm() > 0
    assert nat.norm() > 0


@pytest.mark.parametrize(("value", "parts"), [(0.0, ("at",)), (1.0, ("nat", "length"))])
def test_a_baseline_has_one_branch_and_the_parts_of_that_branch(value: float, parts: tuple[str, ...]) -> None:
    objective = build(Constant(value=value))
    draw = draw_of(objective, SOURCE, TARGET)
    total, sums, counts = total_of(objective, draw, objective.weights_at(0, 10))
    assert objective.parts == parts
    assert (sums > 0).all()
    assert counts.tolist() == [draw.divisors[part] for part in parts]
    assert total.item() > 0
    assert list(objective.translator.branches) == [parts[0]]
    assert sum(p.numel() for p in objective.parameters()) < sum(p.numel() for p in build().parameters())


def test_two_encoder_passes_differ_from_one_only_by_dropout() -> None:
    weights = {"at": 0.5, "nat": 0.5, "length": 0.05}
    assert losses(build(encoder_passes=1), weights)[0].item() == losses(build(encoder_passes=2), weights)[0].item()

    def with_dropout(passes: int) -> dict[str, float]:
        objective = build(encoder_passes=passes, dropout=0.3).train()
        torch.manual_seed(5)
        return losses(objective, weights)[1]

    once, twice = with_dropout(1), with_dropout(2)
    assert once["at"] == twice["at"]
    assert once["nat"] != twice["nat"]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_branch_without_weight_does_not_run_and_nothing_else_changes(weight: float) -> None:
    """Compared with both branches running and one gradient multiplied by 0."""
    objective = build()
    weights = {"at": 1 - weight, "nat": weight, "length": 0.1 * weight}
    skipped = gradient(objective, weights)
    idle = objective.translator.branch("at" if weight else "nat")
    assert all(parameter.grad is None for parameter in idle.parameters())
    objective.zero_grad()
    total_of(objective, draw_of(objective, SOURCE, TARGET, step=MIDDLE), weights)[0].backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(skipped, flat(objective))


def test_the_sampled_gradient_is_eq_1s_on_average() -> None:
    target = torch.tensor([[token, EOS] for token in range(20, 28)])  # a single piece is always masked: only the branches vary
    source = torch.tensor([[token, EOS] for token in range(10, 18)])
    schedule = Constant(value=0.3)
    weights = build(schedule).weights_at(0, 10)

    def one(objective: MultiTaskObjective, seed: int) -> Tensor:
        draw = draw_of(objective, source, target, seed)
        objective.zero_grad()
        total_of(objective, draw, weights)[0].backward()  # type: ignore[no-untyped-call]
        return flat(objective)

    weighted = one(build(schedule, estimator="weighted"), 0)
    objective, draws = build(schedule, estimator="sampled"), 400
    sampled = torch.stack([one(objective, seed) for seed in range(draws)])
    deviation = sampled.std(0)
    varies = deviation > 1e-7
    assert varies.float().mean() > 0.5
    torch.testing.assert_close(sampled.mean(0)[~varies], weighted[~varies], atol=1e-6, rtol=1e-4)
    # How many standard errors the mean is off: unit normal in each coordinate, though coordinates go together.
    errors = ((sampled.mean(0) - weighted) / (deviation / draws**0.5))[varies]
    assert errors.square().mean().sqrt() < 1.5
    assert errors.abs().max() < 6
    # Each single draw is far off: it is the mean that agrees.
    assert (sampled[0] - weighted).norm() > 10 * (sampled.mean(0) - weighted).norm()
