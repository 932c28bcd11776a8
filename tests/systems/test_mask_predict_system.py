"""The Mask-Predict branch: what it reads and predicts, and its losses."""

import pytest
import torch
from torch.nn import functional
from translators import BOTH, draw_of, nat, objective_of, translator_of

from mtnat.model import ModelConfig
from mtnat.objective import Moment
from mtnat.tokens import EOS, MASK, PAD

MODEL = ModelConfig(width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=1, dropout=0, max_positions=32)
SOURCE = torch.tensor([[10, 11, EOS], [12, EOS, PAD]])
TARGET = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])


def test_it_sees_masks_for_what_it_predicts_and_eos_stays() -> None:
    noise = draw_of(objective_of(translator_of(MODEL, 30), BOTH), SOURCE, TARGET, seed=3).noise["nat"]
    assert noise.positions_N is not None
    masked = torch.zeros(8, dtype=torch.bool).index_fill(0, noise.positions_N, True).view(2, 4)
    assert torch.equal(noise.tensors["input"] == MASK, masked)
    assert torch.equal(noise.tensors["input"][~masked], TARGET[~masked])
    assert not masked[TARGET == EOS].any()
    assert not masked[TARGET == PAD].any()
    assert noise.head_tensors["lengths"].tolist() == [3, 1]
    assert noise.predictions["nat"].tolist() == masked.sum(1).tolist()
    assert noise.predictions["length"].tolist() == [1, 1]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_its_losses_are_torchs_sums_over_masked_pieces_and_over_sentences(label_smoothing: float) -> None:
    torch.manual_seed(0)
    config = BOTH.model_copy(update={"label_smoothing": label_smoothing})
    translator = translator_of(MODEL, 30, config)
    noise = draw_of(objective_of(translator, config), SOURCE, TARGET).noise["nat"]
    encoded, branch = translator.encode(SOURCE), nat(translator)
    loss = branch.losses(encoded, noise, Moment(0, 1))["nat"]
    is_masked = noise.tensors["input"] == MASK
    expected = functional.cross_entropy(
        branch.decoder.logits(encoded, noise.tensors["input"])[is_masked],
        TARGET[is_masked],
        label_smoothing=label_smoothing,
        reduction="sum",
    )
    assert loss.count == int(is_masked.sum())
    assert loss.sum.item() == pytest.approx(expected.item(), rel=1e-5)
    length = branch.head_losses(encoded, noise)["length"]
    expected = functional.cross_entropy(branch.length_logits(encoded), torch.tensor([3, 1]), reduction="sum")
    assert length.count == 2
    assert length.sum.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_length_loss_has_its_weight_within_the_branch() -> None:
    branch = nat(translator_of(MODEL, 30, BOTH.model_copy(update={"length_weight": 0.3})))
    assert (branch.weight_of("nat"), branch.weight_of("length")) == (1.0, 0.3)
