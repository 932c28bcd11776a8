"""The states of an encoder."""

from pathlib import Path

import pytest
import torch

from mtnat.analysis.encoding import encoder_states, layers_of
from mtnat.decoding.batching import pad
from mtnat.errors import UserError
from mtnat.training import Model, load_model

SENTENCES = ["the old cat sees a green house.", "", "a dog.", "the dog sees the cat and the house.", "yes"]


@pytest.fixture
def loaded(model: Path) -> Model:
    return load_model(model)


def test_the_states_are_those_that_the_decoders_read(loaded: Model) -> None:
    top = layers_of(loaded)
    found = {}
    for batch in encoder_states(loaded, SENTENCES, [0, top], max_tokens=64):
        for row, bottom_SD, top_SD, is_piece_S in zip(batch.rows, *batch.states, batch.is_piece_BS, strict=True):
            found[row] = bottom_SD[is_piece_S], top_SD[is_piece_S]
    assert sorted(found) == list(range(len(SENTENCES)))
    translator = loaded.translator.eval()
    for row, pieces in enumerate(loaded.vocabularies.source.encode(SENTENCES)):
        encoded = translator.encode(pad([pieces], torch.device("cpu")))
        assert [len(states) for states in found[row]] == [len(pieces)] * 2
        torch.testing.assert_close(found[row][1], encoded.states_BSD[0, :-1])
        assert not pieces or not torch.equal(*found[row])


def test_layers_count_from_the_top_too(loaded: Model) -> None:
    [batch] = encoder_states(loaded, SENTENCES, [-1, layers_of(loaded)])
    assert torch.equal(*batch.states)
    with pytest.raises(UserError, match="layers: must be from 0 to 1, the top encoder layer of this model; got 2"):
        next(encoder_states(loaded, SENTENCES, [2]))


def test_a_sentence_that_is_too_long_is_cut(loaded: Model) -> None:
    most = loaded.experiment.model.max_positions - 1
    [batch] = encoder_states(loaded, ["the dog. " * 200], [-1], max_tokens=64)
    assert int(batch.is_piece_BS.sum()) == most
