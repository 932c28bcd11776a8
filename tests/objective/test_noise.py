import pytest
import torch

from mtnat.objective import Draw, ObjectiveConfig, draw_noise
from mtnat.objective.noise import draw_masks
from mtnat.tokens import BOS, EOS, MASK, PAD

SOURCE = torch.tensor([[10, 11, EOS], [12, EOS, PAD]])
TARGET = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_the_nat_decoder_sees_masks_for_what_it_predicts_and_eos_stays() -> None:
    draw = draw_noise(SOURCE, TARGET, ObjectiveConfig(), 0.5, generator(3))
    masked = torch.zeros(8, dtype=torch.bool).index_fill(0, draw.nat_positions_N, True).view(2, 4)
    assert torch.equal(draw.nat_input_MT == MASK, masked)
    assert torch.equal(draw.nat_input_MT[~masked], TARGET[~masked])
    assert not masked[TARGET == EOS].any()
    assert not masked[TARGET == PAD].any()
    assert draw.lengths_B.tolist() == [3, 1]


def test_the_at_decoder_starts_with_bos_and_predicts_eos_but_no_padding() -> None:
    draw = draw_noise(SOURCE, TARGET, ObjectiveConfig(), 0.5, generator())
    assert draw.at_input_AT.tolist() == [[BOS, 20, 21, 22], [BOS, 23, PAD, PAD]]
    assert TARGET.flatten()[draw.at_positions_N].tolist() == draw.at_targets_N.tolist() == [20, 21, 22, EOS, 23, EOS]


def test_at_fraction_takes_that_share_of_the_sentences() -> None:
    target = torch.arange(40).reshape(10, 4) + 10
    target[:, -1] = EOS
    draw = draw_noise(target, target, ObjectiveConfig(at_fraction=0.3), 0.5, generator())
    assert draw.at_rows_A is not None
    assert len(set(draw.at_rows_A.tolist())) == 3
    assert torch.equal(draw.at_input_AT[:, 1:], target[draw.at_rows_A][:, :-1])
    assert draw.counts == draw.divisors == {"at": 12, "nat": len(draw.nat_positions_N), "length": 10}


@pytest.mark.parametrize(("nat_weight", "absent"), [(0.0, {"nat", "length"}), (1.0, {"at"})])
@pytest.mark.parametrize("estimator", ["weighted", "sampled"])
def test_a_decoder_without_weight_gets_no_sentence(nat_weight: float, absent: set[str], estimator: str) -> None:
    config = ObjectiveConfig.model_validate({"estimator": estimator})
    draw = draw_noise(SOURCE, TARGET, config, nat_weight, generator())
    assert {part for part, count in draw.counts.items() if count == 0} == absent
    assert draw.counts == draw.divisors


def test_a_sampled_batch_sends_each_sentence_to_one_decoder_and_divides_by_what_was_to_be_expected() -> None:
    target = torch.arange(40_000).reshape(10_000, 4) + 10
    target[:, -1] = EOS
    draw = draw_noise(target, target, ObjectiveConfig(estimator="sampled"), 0.3, generator())
    weighted = draw_noise(target, target, ObjectiveConfig(), 0.3, generator())
    assert draw.nat_rows_M is not None
    assert draw.at_rows_A is not None
    assert sorted([*draw.nat_rows_M.tolist(), *draw.at_rows_A.tolist()]) == list(range(10_000))
    assert abs(len(draw.nat_rows_M) - 3_000) < 5 * 46  # the standard deviation of 10,000 draws at 0.3
    assert draw.divisors == pytest.approx({"at": 0.7 * 40_000, "nat": 0.3 * weighted.counts["nat"], "length": 10_000})
    assert draw.counts == {"at": 4 * len(draw.at_rows_A), "nat": len(draw.nat_positions_N), "length": 10_000}
    # What each decoder reads and must say is what the weighted batch has for the same sentences.
    assert torch.equal(draw.nat_input_MT, weighted.nat_input_MT[draw.nat_rows_M])
    assert torch.equal(draw.at_input_AT, weighted.at_input_AT[draw.at_rows_A])
    said = draw.nat_input_MT.flatten().index_copy(0, draw.nat_positions_N, draw.nat_targets_N).view(-1, 4)
    assert torch.equal(said, target[draw.nat_rows_M])


def test_padding_is_known_without_looking_at_the_device() -> None:
    draw = draw_noise(SOURCE, TARGET, ObjectiveConfig(), 0.5, generator())
    assert (draw.is_padded, draw.nat_is_padded) == (True, True)
    draw = draw_noise(SOURCE[:1], TARGET[:1], ObjectiveConfig(), 0.5, generator())
    assert (draw.is_padded, draw.nat_is_padded) == (False, False)


def test_the_same_generator_state_gives_the_same_draw() -> None:
    first, again, other = (
        draw_noise(TARGET.repeat(20, 1), TARGET.repeat(20, 1), ObjectiveConfig(), 0.5, generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.nat_input_MT, again.nat_input_MT)
    assert not torch.equal(first.nat_input_MT, other.nat_input_MT)


LONGER = torch.arange(60).reshape(10, 6) + 10
LONGER[:, -1] = EOS
LONGER[:4, 3] = EOS
LONGER[:4, 4:] = PAD


@pytest.mark.parametrize("settings", [{}, {"at_fraction": 0.3}, {"estimator": "sampled"}])
@pytest.mark.parametrize("nat_weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_cut_draw_says_sentence_by_sentence_what_the_whole_one_says(
    settings: dict[str, object], nat_weight: float, count: int
) -> None:
    whole = draw_noise(LONGER, LONGER, ObjectiveConfig.model_validate(settings), nat_weight, generator())
    cut = whole.split(count)
    assert len(cut) == count
    assert torch.equal(torch.cat([draw.source_BS for draw in cut]), whole.source_BS)
    assert sentences(*cut) == sentences(whole)
    assert {name: sum(draw.counts[name] for draw in cut) for name in whole.counts} == whole.counts
    assert all(draw.divisors == whole.divisors for draw in cut)
    for draw in cut:
        assert draw.is_padded == bool((draw.source_BS == PAD).any())
        assert draw.nat_is_padded == bool((draw.nat_input_MT == PAD).any())


def sentences(*draws: Draw) -> list[dict[str, list[int]]]:
    """For each sentence what each decoder reads and what it must say at which of its positions."""
    told: list[dict[str, list[int]]] = []
    for draw in draws:
        own: list[dict[str, list[int]]] = [{} for _ in draw.lengths_B]
        for name, rows, read, positions, targets in (
            ("nat", draw.nat_rows_M, draw.nat_input_MT, draw.nat_positions_N, draw.nat_targets_N),
            ("at", draw.at_rows_A, draw.at_input_AT, draw.at_positions_N, draw.at_targets_N),
        ):
            said = torch.zeros_like(read).flatten().index_copy(0, positions, targets).view_as(read)
            for number, row in enumerate(range(len(own)) if rows is None else rows.tolist()):
                own[row][name] = [*read[number].tolist(), *said[number].tolist()]
        told += own
    return told


def test_a_draw_is_cut_into_no_more_than_its_sentences() -> None:
    whole = draw_noise(SOURCE, TARGET, ObjectiveConfig(), 0.5, generator())
    assert [len(draw.source_BS) for draw in whole.split(64)] == [1, 1]
    assert whole.split(1) == (whole,)
