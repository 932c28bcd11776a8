"""The AT branch: what it reads and predicts, and its loss."""

import pytest
import torch
from torch.nn import functional
from translators import BOTH, at, draw_of, objective_of, translator_of

from mtnat.model import ModelConfig
from mtnat.objective import Moment
from mtnat.tokens import BOS, EOS, PAD

MODEL = ModelConfig(width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=1, dropout=0, max_positions=32)
SOURCE = torch.tensor([[10, 11, EOS], [12, EOS, PAD]])
TARGET = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])


def test_it_starts_with_bos_and_predicts_eos_but_no_padding() -> None:
    noise = draw_of(objective_of(translator_of(MODEL, 30), BOTH), SOURCE, TARGET).noise["at"]
    assert noise.tensors["input"].tolist() == [[BOS, 20, 21, 22], [BOS, 23, PAD, PAD]]
    assert noise.tensors["target"].flatten()[noise.positions_N].tolist() == [20, 21, 22, EOS, 23, EOS]
    assert noise.predictions["at"].tolist() == [4, 2]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_its_loss_is_torchs_label_smoothed_sum_over_all_tokens(label_smoothing: float) -> None:
    torch.manual_seed(0)
    config = BOTH.model_copy(update={"label_smoothing": label_smoothing})
    translator = translator_of(MODEL, 30, config)
    noise = draw_of(objective_of(translator, config), SOURCE, TARGET).noise["at"]
    encoded = translator.encode(SOURCE)
    loss = at(translator).losses(encoded, noise, Moment(0, 1))["at"]
    logits = at(translator).decoder.logits(encoded, torch.tensor([[BOS, 20, 21, 22], [BOS, 23, PAD, PAD]]))
    expected = functional.cross_entropy(
        logits.flatten(0, 1),
        TARGET.masked_fill(TARGET == PAD, -100).flatten(),
        label_smoothing=label_smoothing,
        reduction="sum",
    )
    assert loss.count == 6
    assert loss.sum.item() == pytest.approx(expected.item(), rel=1e-5)
