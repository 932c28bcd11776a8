"""The similarity of encoders."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mtnat.analysis.encoders import Unit, compare_encoders, observed, readable_sentences
from mtnat.analysis.encoding import layers_of
from mtnat.analysis.similarity import Moments, similarities
from mtnat.data import Vocabularies, Vocabulary
from mtnat.decoding.batching import pad
from mtnat.errors import UserError
from mtnat.training import Model, load_model

SENTENCES = [
    "the old cat sees a green house.",
    "a dog.",
    "the dog sees the cat and the house.",
    "yes",
    "a cat sees a dog.",
] * 60
NAMES = ["first", "second"]


@pytest.fixture
def loaded(model: Path) -> Model:
    return load_model(model)


@pytest.fixture
def other(model: Path) -> Model:
    """The same model with other weights."""
    other = load_model(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in other.translator.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * weight.std(correction=0))
    return other


def with_other_vocabulary(model: Model) -> Model:
    size = len(model.vocabularies.source)
    words = [f"{first}{second}{third}" for first in "thecatdogsy" for second in "aeiou" for third in "stnrl.,"]
    vocabulary = Vocabulary.train([" ".join(words)] * 3, size)
    return replace(model, vocabularies=Vocabularies(vocabulary, vocabulary, joint=True))


def states(model: Model, sentence: str) -> list[Tensor]:
    """The states of each layer for the pieces of one sentence, computed alone."""
    pieces = model.vocabularies.source.encode([sentence])[0]
    with torch.inference_mode():
        return [each[0, :-1] for each in model.translator.eval().encoder_layers(pad([pieces], torch.device("cpu")))]


def test_the_observations_are_in_the_order_of_the_text(loaded: Model) -> None:
    alone = [states(loaded, sentence) for sentence in SENTENCES[:5]]
    for layer in (0, 1):
        [found_ND] = observed(loaded, SENTENCES[:5], [layer], "piece")
        torch.testing.assert_close(found_ND, torch.cat([each[layer] for each in alone]))
        [means_ND] = observed(loaded, SENTENCES[:5], [layer], "sentence")
        torch.testing.assert_close(
            means_ND, torch.stack([each[layer].double().mean(0) for each in alone]), rtol=1e-5, atol=1e-6
        )


def test_the_comparison_is_that_of_all_states_at_once(loaded: Model, other: Model) -> None:
    models = [loaded, other]
    sentences = readable_sentences(models, NAMES, SENTENCES, "piece")
    done: list[int] = []
    found = compare_encoders(models, NAMES, sentences, layers="all", done=done.append)
    assert [each.layers for each in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    # A batch has at most 2,048 pieces on a CPU, so that there are several.
    assert len(done) > 1
    assert done == sorted(done)
    assert done[-1] == len(SENTENCES)
    whole = Moments([16, 16])
    whole.add([torch.cat([states(model, sentence)[-1] for sentence in SENTENCES]) for model in models])
    expected = similarities(whole)[0, 1]
    assert expected.observations == found[-1].similarity.observations == sentences.observations("piece")
    assert expected.ranks == found[-1].similarity.ranks
    for name in ("mean_cca", "svcca", "pwcca", "cka"):
        assert getattr(found[-1].similarity, name) == pytest.approx(getattr(expected, name), abs=1e-4)
        assert max(torch.tensor(getattr(found[-1].similarity, name)).flatten().tolist()) < 0.99


@pytest.mark.parametrize("unit", ["piece", "sentence"])
def test_an_encoder_is_equal_to_itself(loaded: Model, unit: Unit) -> None:
    sentences = readable_sentences([loaded] * 3, ["a", "b", "c"], SENTENCES, unit)
    found = compare_encoders([loaded] * 3, ["a", "b", "c"], sentences, unit=unit)
    top = layers_of(loaded)
    assert [(each.models, each.layers) for each in found] == [(pair, (top, top)) for pair in ((0, 1), (0, 2), (1, 2))]
    for each in found:
        values = each.similarity
        assert [values.mean_cca, values.svcca, *values.pwcca, values.cka] == pytest.approx([1] * 5, abs=1e-6)


def test_sentences_without_pieces_or_with_too_many_are_left_out(loaded: Model) -> None:
    lines = ["a dog.", "", " ", "the dog. " * 200, "a cat."]
    found = readable_sentences([loaded], NAMES, lines, "piece")
    assert (found.texts, found.empty, found.too_long) == (("a dog.", "a cat."), 2, 1)
    assert found.observations("piece") == sum(len(states(loaded, text)[0]) for text in found.texts)
    assert found.observations("sentence") == 2
    with pytest.raises(UserError, match="none can be compared, 1 are empty and 1 longer than the models' positions"):
        readable_sentences([loaded], NAMES, lines[2:4], "piece")


def test_models_of_different_vocabularies_are_compared_by_sentence(loaded: Model) -> None:
    models = [loaded, with_other_vocabulary(loaded)]
    with pytest.raises(
        UserError, match="unit piece: first and second have different source vocabularies; give --unit sentence"
    ):
        readable_sentences(models, NAMES, SENTENCES, "piece")
    sentences = readable_sentences(models, NAMES, SENTENCES, "sentence")
    [found] = compare_encoders(models, NAMES, sentences, unit="sentence")
    assert found.similarity.observations == len(SENTENCES)
    counts = [[len(row) for row in model.vocabularies.source.encode(SENTENCES)] for model in models]
    assert sentences.pieces == tuple(max(pair) for pair in zip(*counts, strict=True))


def test_a_constant_layer_is_named(loaded: Model, other: Model) -> None:
    with torch.no_grad():
        for module in other.translator.encoder.layers[-1].modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.zero_()
    sentences = readable_sentences([loaded, other], NAMES, SENTENCES, "piece")
    with pytest.raises(UserError, match="second, layer 1: is the same for all"):
        compare_encoders([loaded, other], NAMES, sentences)
