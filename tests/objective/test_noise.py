"""What is drawn for a batch: masks, the sentences of each branch, and how a draw is cut."""

from typing import Any

import pytest
import torch
from torch import Tensor
from translators import objective_of, translator_of

from mtnat.model import ModelConfig
from mtnat.objective import Draw, Moment, MultiTaskObjective, ObjectiveConfig, draw_masks
from mtnat.objective.schedules import Constant, Linear
from mtnat.tokens import EOS, PAD

MODEL = ModelConfig(width=8, heads=1, feed_forward=8, encoder_layers=1, decoder_layers=1, max_positions=8)
SOURCE = torch.tensor([[10, 11, EOS], [12, EOS, PAD]])
TARGET = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(settings: dict[str, Any]) -> MultiTaskObjective:
    """An objective over both branches whose λ is the progress."""
    config = ObjectiveConfig.model_validate({"schedule": Linear(), **settings})
    return objective_of(translator_of(MODEL, 30, config), config)


def draw_noise(source: Tensor, target: Tensor, nat_weight: float = 0.5, seed: int = 0, **settings: Any) -> Draw:
    """The draw of a batch at the step where λ is `nat_weight`."""
    return linear(settings).draw(source, target, Moment(round(1000 * nat_weight), 1000), generator(seed))


def counts(draw: Draw) -> dict[str, int]:
    """How many predictions each part of the loss sums over."""
    at, nat = (draw.noise[name] for name in ("at", "nat"))
    assert at.positions_N is not None
    assert nat.positions_N is not None
    lengths = len(nat.head_tensors["lengths"]) if draw.divisors["length"] else 0
    return {"at": len(at.positions_N), "nat": len(nat.positions_N), "length": lengths}


def test_masked_counts_are_uniform_on_1_to_length_and_positions_are_uniform() -> None:
    lengths = torch.full((20_000,), 4)
    masks = draw_masks(lengths, 6, generator())
    counts = torch.bincount(masks.sum(1), minlength=5)
    assert counts[0] == 0
    # 20,000 draws of a fair four-sided die: 5,000 each, standard deviation 61.
    assert all(abs(int(count) - 5_000) < 5 * 61 for count in counts[1:])
    # A position is masked with probability E[count]/4 = 2.5/4; standard deviation of 20,000 draws 68.
    assert all(abs(int(hits) - 12_500) < 5 * 68 for hits in masks.sum(0)[:4])
    assert not masks[:, 4:].any()


def test_a_single_piece_is_always_masked() -> None:
    assert draw_masks(torch.tensor([1, 1, 1]), 3, generator()).tolist() == [[True, False, False]] * 3


def test_at_fraction_takes_that_share_of_the_sentences() -> None:
    target = torch.arange(40).reshape(10, 4) + 10
    target[:, -1] = EOS
    draw = draw_noise(target, target, at_fraction=0.3)
    at, nat = draw.noise["at"], draw.noise["nat"]
    assert at.rows_R is not None
    assert nat.rows_R is None
    assert nat.positions_N is not None
    assert len(set(at.rows_R.tolist())) == 3
    assert torch.equal(at.tensors["input"][:, 1:], target[at.rows_R][:, :-1])
    assert counts(draw) == draw.divisors == {"at": 12, "nat": len(nat.positions_N), "length": 10}


@pytest.mark.parametrize(("nat_weight", "absent"), [(0.0, {"nat", "length"}), (1.0, {"at"})])
@pytest.mark.parametrize("estimator", ["weighted", "sampled"])
def test_a_decoder_without_weight_gets_no_sentence(nat_weight: float, absent: set[str], estimator: str) -> None:
    draw = draw_noise(SOURCE, TARGET, nat_weight, estimator=estimator)
    assert {part for part, count in counts(draw).items() if count == 0} == absent
    assert {name for name, noise in draw.noise.items() if noise.sentences == 0} == absent - {"length"}
    assert counts(draw) == draw.divisors


def test_a_sampled_batch_gives_each_sentence_to_one_decoder_and_divides_by_expected_counts() -> None:
    target = torch.arange(40_000).reshape(10_000, 4) + 10
    target[:, -1] = EOS
    draw = draw_noise(target, target, 0.3, estimator="sampled")
    weighted = draw_noise(target, target, 0.3)
    at, nat = draw.noise["at"], draw.noise["nat"]
    assert nat.rows_R is not None
    assert at.rows_R is not None
    assert nat.positions_N is not None
    assert sorted([*nat.rows_R.tolist(), *at.rows_R.tolist()]) == list(range(10_000))
    assert abs(len(nat.rows_R) - 3_000) < 5 * 46  # the standard deviation of 10,000 draws at 0.3
    assert draw.divisors == pytest.approx({"at": 0.7 * 40_000, "nat": 0.3 * counts(weighted)["nat"], "length": 10_000})
    assert counts(draw) == {"at": 4 * len(at.rows_R), "nat": len(nat.positions_N), "length": 10_000}
    # Inputs and targets are those that the weighted batch has for the same sentences.
    assert torch.equal(nat.tensors["input"], weighted.noise["nat"].tensors["input"][nat.rows_R])
    assert torch.equal(at.tensors["input"], weighted.noise["at"].tensors["input"][at.rows_R])
    assert torch.equal(nat.tensors["target"], target[nat.rows_R])
    assert torch.equal(at.tensors["target"], target[at.rows_R])


def test_a_draw_states_which_of_its_tensors_are_padded() -> None:
    draw = draw_noise(SOURCE, TARGET)
    assert (draw.is_padded, "input" in draw.noise["nat"].padded) == (True, True)
    draw = draw_noise(SOURCE[:1], TARGET[:1])
    assert (draw.is_padded, "input" in draw.noise["nat"].padded) == (False, False)


def test_the_same_generator_state_gives_the_same_draw() -> None:
    first, again, other = (
        draw_noise(TARGET.repeat(20, 1), TARGET.repeat(20, 1), seed=seed).noise["nat"].tensors["input"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("estimator", ["weighted", "sampled"])
@pytest.mark.parametrize(("name", "value"), [("at", 0.0), ("nat", 1.0)])
def test_a_branch_alone_draws_the_same_noise_as_beside_the_other_branch(name: str, value: float, estimator: str) -> None:
    settings: dict[str, Any] = {"at_fraction": 0.3, "estimator": estimator}
    config = ObjectiveConfig.model_validate({"schedule": Constant(value=value), **settings})
    alone = objective_of(translator_of(MODEL, 30, config), config).draw(LONGER, LONGER, Moment(0, 1000), generator())
    beside = draw_noise(LONGER, LONGER, value, **settings)
    assert list(alone.noise) == [name]
    ours, theirs = alone.noise[name], beside.noise[name]
    assert (ours.rows_R is None) == (theirs.rows_R is None) == (name == "nat")
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert all(torch.equal(tensor, theirs.tensors[key]) for key, tensor in ours.tensors.items())
    assert alone.divisors == {part: beside.divisors[part] for part in alone.divisors}


@pytest.mark.parametrize("value", [0.2, 0.9])
def test_at_fraction_draws_the_same_sentences_for_any_weights(value: float) -> None:
    at = [draw_noise(LONGER, LONGER, weight, at_fraction=0.3).noise["at"].rows_R for weight in (0.0, value)]
    assert at[0] is not None
    assert at[1] is not None
    assert torch.equal(at[0], at[1])


LONGER = torch.arange(60).reshape(10, 6) + 10
LONGER[:, -1] = EOS
LONGER[:4, 3] = EOS
LONGER[:4, 4:] = PAD


@pytest.mark.parametrize("settings", [{}, {"at_fraction": 0.3}, {"estimator": "sampled"}])
@pytest.mark.parametrize("nat_weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_split_draw_holds_the_same_noise_for_each_sentence_as_the_whole_draw(
    settings: dict[str, Any], nat_weight: float, count: int
) -> None:
    whole = draw_noise(LONGER, LONGER, nat_weight, **settings)
    cut = whole.split(count)
    assert len(cut) == count
    assert torch.equal(torch.cat([draw.source_BS for draw in cut]), whole.source_BS)
    assert sentences(*cut) == sentences(whole)
    each = [counts(draw) for draw in cut]
    assert {part: sum(counted[part] for counted in each) for part in counts(whole)} == counts(whole)
    assert all(draw.divisors == whole.divisors for draw in cut)
    for draw in cut:
        assert draw.is_padded == bool((draw.source_BS == PAD).any())
        nat = draw.noise["nat"]
        assert ("input" in nat.padded) == bool((nat.tensors["input"] == PAD).any())


def sentences(*draws: Draw) -> list[dict[str, list[int]]]:
    """For each sentence, the input of each decoder and its targets by position."""
    told: list[dict[str, list[int]]] = []
    for draw in draws:
        own: list[dict[str, list[int]]] = [{} for _ in draw.source_BS]
        for name, noise in draw.noise.items():
            read, positions = noise.tensors["input"], noise.positions_N
            assert positions is not None
            targets = noise.tensors["target"].flatten()[positions]
            said = torch.zeros_like(read).flatten().index_copy(0, positions, targets).view_as(read)
            for number, row in enumerate(range(len(own)) if noise.rows_R is None else noise.rows_R.tolist()):
                own[row][name] = [*read[number].tolist(), *said[number].tolist()]
        for row, length in enumerate(draw.noise["nat"].head_tensors["lengths"].tolist()):
            own[row]["length"] = [length]
        told += own
    return told


def test_a_draw_splits_into_at_most_one_part_per_sentence() -> None:
    whole = draw_noise(SOURCE, TARGET)
    assert [len(draw.source_BS) for draw in whole.split(64)] == [1, 1]
    assert whole.split(1) == (whole,)
