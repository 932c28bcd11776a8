import pytest
import torch
import torch.nn.functional as F

from mtnat.model import ModelConfig, Translator
from mtnat.objective import PARTS, MultiTaskObjective, ObjectiveConfig, draw_noise, weights_at
from mtnat.objective.schedules import Constant, Linear, Schedule
from mtnat.tokens import EOS, PAD

TARGET = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])
HALF = Constant(value=0.5)
SOURCE = torch.tensor([[10, 11, EOS], [12, EOS, PAD]])


def build(schedule: Schedule = HALF, dropout: float = 0.0, **settings: float | str) -> MultiTaskObjective:
    torch.manual_seed(0)
    config = ObjectiveConfig.model_validate({"schedule": schedule, **settings})
    model = ModelConfig(
        width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=1, dropout=dropout, max_positions=32
    )
    translator = Translator(
        model,
        source_vocabulary_size=30,
        target_vocabulary_size=30,
        joint=True,
        with_at=config.trains_at,
        with_nat=config.trains_nat,
    )
    return MultiTaskObjective(translator, config)


def losses(objective: MultiTaskObjective, weights: dict[str, float]) -> tuple[torch.Tensor, dict[str, float]]:
    """The total of Eq. 1 and the mean of each part, over one draw."""
    draw = draw_noise(SOURCE, TARGET, objective.config, nat_weight(weights), torch.Generator().manual_seed(1))
    scales = {part: torch.tensor(weights[part] / max(1, draw.divisors[part])) for part in weights}
    total, sums = objective(draw, scales)
    return total, {part: float(value) / max(1, draw.counts[part]) for part, value in zip(PARTS, sums, strict=True)}


def nat_weight(weights: dict[str, float]) -> float:
    """λ of these weights; any that runs the decoders with weight will do."""
    return 0.0 if not weights["nat"] and not weights["length"] else 1.0 if not weights["at"] else 0.5


def gradient(objective: MultiTaskObjective, weights: dict[str, float]) -> torch.Tensor:
    objective.zero_grad()
    losses(objective, weights)[0].backward()  # type: ignore[no-untyped-call]
    return torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in objective.parameters()])


def test_the_weights_are_eq_1() -> None:
    config = ObjectiveConfig(schedule=Linear(), length_weight=0.1)
    assert weights_at(config, 0, 100) == {"at": 1.0, "nat": 0.0, "length": 0.0}
    assert weights_at(config, 25, 100) == pytest.approx({"at": 0.75, "nat": 0.25, "length": 0.025})
    assert weights_at(config, 100, 100) == pytest.approx({"at": 0.0, "nat": 1.0, "length": 0.1})


def test_the_parts_equal_torchs_label_smoothed_means_over_the_right_positions() -> None:
    objective = build(label_smoothing=0.1)
    _, parts = losses(objective, {"at": 1.0, "nat": 1.0, "length": 1.0})
    draw = draw_noise(SOURCE, TARGET, objective.config, 0.5, torch.Generator().manual_seed(1))
    translator = objective.translator
    encoded = translator.encode(SOURCE)
    at_target = TARGET.masked_fill(TARGET == PAD, -100)
    at = F.cross_entropy(
        translator.at_logits(encoded, draw.at_input_AT).flatten(0, 1), at_target.flatten(), label_smoothing=0.1
    )
    nat_target = TARGET.masked_fill(draw.nat_input_MT == TARGET, -100)
    nat = F.cross_entropy(
        translator.nat_logits(encoded, draw.nat_input_MT).flatten(0, 1), nat_target.flatten(), label_smoothing=0.1
    )
    length = F.cross_entropy(translator.length_logits(encoded), torch.tensor([3, 1]))
    assert parts == pytest.approx({"at": at.item(), "nat": nat.item(), "length": length.item()}, abs=1e-5)


def test_the_gradient_of_eq_1_is_the_weighted_sum_of_the_parts_gradients() -> None:
    objective = build()
    at = gradient(objective, {"at": 1.0, "nat": 0.0, "length": 0.0})
    nat = gradient(objective, {"at": 0.0, "nat": 1.0, "length": 0.0})
    length = gradient(objective, {"at": 0.0, "nat": 0.0, "length": 1.0})
    both = gradient(objective, weights_at(ObjectiveConfig(schedule=Constant(value=0.3)), 0, 10))
    torch.testing.assert_close(both, 0.7 * at + 0.3 * nat + 0.03 * length, atol=1e-6, rtol=1e-4)
    encoder = torch.cat([parameter.flatten() for parameter in objective.translator.encoder.parameters()]).numel()
    assert encoder > 0
    assert at.norm() > 0
    assert nat.norm() > 0


@pytest.mark.parametrize(("value", "absent"), [(0.0, {"nat", "length"}), (1.0, {"at"})])
def test_a_baseline_has_one_decoder_and_its_other_parts_are_zero(value: float, absent: set[str]) -> None:
    objective = build(Constant(value=value))
    total, parts = losses(objective, weights_at(objective.config, 0, 10))
    assert {part for part, mean in parts.items() if mean == 0} == absent
    assert total.item() > 0
    assert (objective.translator.at_decoder is not None) == (value == 0)
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
def test_a_decoder_without_weight_does_not_run_and_nothing_else_changes(weight: float) -> None:
    """Compared with both decoders running and one gradient multiplied by 0."""
    objective = build(Linear())
    weights = {"at": 1 - weight, "nat": weight, "length": 0.1 * weight}
    skipped = gradient(objective, weights)
    idle = objective.translator.at_decoder if weight else objective.translator.nat_decoder
    assert idle is not None
    assert all(parameter.grad is None for parameter in idle.parameters())
    objective.zero_grad()
    draw = draw_noise(SOURCE, TARGET, objective.config, 0.5, torch.Generator().manual_seed(1))
    total, _ = objective(draw, {part: torch.tensor(weights[part] / draw.divisors[part]) for part in PARTS})
    total.backward()
    both = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in objective.parameters()])
    torch.testing.assert_close(skipped, both)


def test_the_sampled_gradient_is_eq_1s_on_average() -> None:
    target = torch.tensor([[token, EOS] for token in range(20, 28)])  # a single piece is always masked: only the decoders vary
    source = torch.tensor([[token, EOS] for token in range(10, 18)])
    weights = weights_at(ObjectiveConfig(schedule=Constant(value=0.3)), 0, 10)

    def one(objective: MultiTaskObjective, seed: int) -> torch.Tensor:
        draw = draw_noise(source, target, objective.config, 0.3, torch.Generator().manual_seed(seed))
        objective.zero_grad()
        objective(draw, {part: torch.tensor(weights[part] / draw.divisors[part]) for part in PARTS})[0].backward()
        return torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in objective.parameters()])

    weighted = one(build(estimator="weighted"), 0)
    objective, draws = build(estimator="sampled"), 1000
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
