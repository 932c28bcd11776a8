import torch

from mtnat.objective import ObjectiveConfig, draw_noise
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
    draw = draw_noise(SOURCE, TARGET, ObjectiveConfig(), generator(3))
    masked = torch.zeros(8, dtype=torch.bool).index_fill(0, draw.nat_positions_N, True).view(2, 4)
    assert torch.equal(draw.nat_input_BT == MASK, masked)
    assert torch.equal(draw.nat_input_BT[~masked], TARGET[~masked])
    assert not masked[TARGET == EOS].any()
    assert not masked[TARGET == PAD].any()
    assert draw.lengths_B.tolist() == [3, 1]


def test_the_at_decoder_starts_with_bos_and_predicts_eos_but_no_padding() -> None:
    draw = draw_noise(SOURCE, TARGET, ObjectiveConfig(), generator())
    assert draw.at_input_AT.tolist() == [[BOS, 20, 21, 22], [BOS, 23, PAD, PAD]]
    assert TARGET.flatten()[draw.at_positions_N].tolist() == [20, 21, 22, EOS, 23, EOS]


def test_at_fraction_takes_that_share_of_the_sentences() -> None:
    target = torch.arange(40).reshape(10, 4) + 10
    target[:, -1] = EOS
    draw = draw_noise(target, target, ObjectiveConfig(at_fraction=0.3), generator())
    assert draw.at_rows_A is not None
    assert len(set(draw.at_rows_A.tolist())) == 3
    assert torch.equal(draw.at_input_AT[:, 1:], target[draw.at_rows_A][:, :-1])
    assert draw.counts == {"at": 12, "nat": len(draw.nat_positions_N), "length": 10}


def test_the_same_generator_state_gives_the_same_draw() -> None:
    first, again, other = (
        draw_noise(TARGET.repeat(20, 1), TARGET.repeat(20, 1), ObjectiveConfig(), generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.nat_input_BT, again.nat_input_BT)
    assert not torch.equal(first.nat_input_BT, other.nat_input_BT)
