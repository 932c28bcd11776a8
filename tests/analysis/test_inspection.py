"""An inspection shows what a translation with the same settings does."""

import json
import math
from itertools import pairwise

import pytest
import torch
from inspected import SENTENCE, SETTINGS, decoder_of, model_of
from torch import nn

from mtnat.analysis.inspection import Inspection, Part, inspect_sentence, record_of
from mtnat.decoding import Decoding, Hypothesis, MaskPredictSearch, decode
from mtnat.decoding.batching import pad
from mtnat.decoding.logits import FORBIDDEN_TO_AT
from mtnat.decoding.replay import Replay, replay_of
from mtnat.decoding.rerank import hypothesis_scores
from mtnat.decoding.teacher_forcing import forced_log_probabilities
from mtnat.errors import UserError
from mtnat.model import Encoded, ModelConfig
from mtnat.objective import ObjectiveConfig
from mtnat.systems import MaskPredict, MaskPredictBranch, branch_of
from mtnat.systems.ctc import CtcBranch
from mtnat.tokens import EOS
from mtnat.training import Model

CPU = torch.device("cpu")
WITH_AT = [name for name in SETTINGS if not name.endswith(" alone")]


def encoded(model: Model) -> Encoded:
    return model.translator.encode(pad(model.vocabularies.source.encode([SENTENCE]), CPU))


def replayed(model: Model) -> Replay:
    """The replay of the sentence's translation."""
    search = model.search()
    with torch.inference_mode():
        source = encoded(model)
        replay = replay_of(search, source, search(source, 1)[0][0])
    assert replay is not None
    return replay


def only_part(model: Model) -> Part:
    [part] = inspect_sentence(model, SENTENCE).parts
    return part


@pytest.mark.parametrize("name", SETTINGS)
def test_the_translation_is_that_of_translate(name: str) -> None:
    model = model_of(name)
    [line] = model.translate([SENTENCE])
    found = inspect_sentence(model, SENTENCE)
    [part] = found.parts
    assert (found.translation, part.text) == (line.text, line.text)
    assert (part.score, part.passes_made) == (line.translations[0].score, line.translations[0].passes)
    assert [piece.text for piece in part.pieces] == [
        model.vocabularies.target.piece(token) for token in line.translations[0].tokens
    ]
    assert part.fell_back == (name == "fallback")


@pytest.mark.parametrize("name", WITH_AT)
def test_the_verdict_is_that_of_teacher_forcing(name: str) -> None:
    model = model_of(name)
    config, target = model.experiment.decoding, model.vocabularies.target
    [[best]] = decode(model.translator, model.vocabularies.source.encode([SENTENCE]), config, model.search())
    decoder, part = decoder_of(model.translator, "at"), only_part(model)
    assert part.at is not None
    tokens_1T = torch.tensor([[*best.tokens, EOS]])
    with torch.inference_mode():
        scores_1T = forced_log_probabilities(decoder, encoded(model), tokens_1T, tokens_1T != -1, FORBIDDEN_TO_AT)
        [[score]] = hypothesis_scores(decoder, encoded(model), [[best]], config.length_penalty).tolist()
    verdicts = [*(piece.verdict for piece in part.pieces), part.at.end]
    assert [each.log_probability for each in verdicts if each] == pytest.approx(scores_1T[0].tolist(), abs=1e-5)
    assert part.at.score_of_translation == pytest.approx(score, abs=1e-5)
    for text, verdict in zip([target.piece(token) for token in tokens_1T[0].tolist()], verdicts, strict=True):
        assert verdict is not None
        assert (verdict.rank == 1) == (verdict.choice == text)
        assert verdict.choice_log_probability >= verdict.log_probability
    assert part.at.text == model.translate([SENTENCE], decoder="at")[0].text


@pytest.mark.parametrize("name", SETTINGS)
def test_attention_is_over_named_rows_and_columns(name: str) -> None:
    model = model_of(name)
    part = only_part(model)
    for maps in part.attention:
        assert maps.weights_LHTS is not None
        layers, heads, *shape = maps.weights_LHTS.shape
        assert (layers, heads) == (1 if maps.name.startswith("encoder") else 2, 2)
        assert shape == [len(maps.row_names), len(maps.column_names)]
        torch.testing.assert_close(maps.weights_LHTS.sum(3), torch.ones(layers, heads, shape[0]))
        if "cross" in maps.name or maps.name.startswith("encoder"):
            assert maps.column_names == part.source
    names = [maps.name for maps in part.attention]
    assert len(set(names)) == len(names)
    assert ("AT decoder: cross-attention" in names) == (name in WITH_AT)
    assert part.attention[0].name.endswith(": cross-attention")
    assert names[-1] == "encoder: self-attention"


def test_a_shared_decoder_has_different_attention_as_at_and_as_nat_decoder() -> None:
    maps = {each.name: each.weights_LHTS for each in only_part(model_of("shared decoder")).attention}
    at, nat = maps["AT decoder: self-attention"], maps["NAT decoder: self-attention"]
    assert at is not None
    assert nat is not None
    assert (at.triu(1) == 0).all()
    assert (nat > 0).all()


def test_the_probabilities_of_mask_predict_are_those_of_its_passes() -> None:
    model = model_of("mask-predict")
    part = only_part(model)
    *_, last = part.passes
    assert last.pieces == tuple(piece.text for piece in part.pieces)
    assert last.log_probabilities == tuple(piece.log_probability for piece in part.pieces)
    assert last.score == pytest.approx(part.score)
    assert sum(last.log_probabilities or ()) / len(part.pieces) == pytest.approx(part.score, abs=1e-5)
    for before, after in pairwise(part.passes):
        assert before.log_probabilities is not None
        assert after.log_probabilities is not None
        kept = zip(before.log_probabilities, after.log_probabilities, after.is_masked, strict=True)
        assert all(old == new for old, new, is_masked in kept if not is_masked)
    [reading] = replayed(model).readings
    masks = [position.reads == 4 for position in reading.positions]  # 4 is MASK
    assert masks == [*last.is_masked, False]


@pytest.mark.parametrize("name", ["transformer", "the AT decoder of both", "fallback"])
def test_a_translation_of_the_at_decoder_has_its_verdict_only(name: str) -> None:
    part = only_part(model_of(name))
    assert part.confidence == ""
    assert {piece.log_probability for piece in part.pieces} == {None}
    assert part.at is not None
    assert part.at.text == part.text
    assert part.at.score == pytest.approx(part.score)
    assert part.at.score_of_translation == pytest.approx(part.score, abs=1e-5)


def test_a_position_of_ctc_gives_the_piece_that_the_alignment_collapses_to() -> None:
    part = only_part(model_of("ctc"))
    assert len(part.positions) == 2 * len(part.source)
    givers = [(each.piece, each.text) for each in part.positions if each.piece is not None]
    assert list(dict.fromkeys(givers)) == list(enumerate(piece.text for piece in part.pieces))
    for index, piece in enumerate(part.pieces):
        assert piece.log_probability == max(each.log_probability or -math.inf for each in part.positions if each.piece == index)
    assert sum(each.log_probability or 0 for each in part.positions) / len(part.positions) == pytest.approx(part.score)
    assert all((each.text == "∅") == (each.piece is None) for each in part.positions)


def test_the_path_of_a_graph_gives_the_pieces() -> None:
    part = only_part(model_of("joint Viterbi"))
    assert len(part.positions) == 8 * len(part.source)
    assert (part.positions[0].text, part.positions[-1].text) == ("<s>", "</s>")
    givers = [(each.piece, each.text) for each in part.positions if each.piece is not None]
    assert list(dict.fromkeys(givers)) == list(enumerate(piece.text for piece in part.pieces))
    assert len(part.pieces) > 1


@pytest.mark.parametrize("name", ["prefix beam of CTC", "prefix beam of the graph"])
def test_a_search_that_adds_up_alignments_says_of_no_position_which_piece_it_gives(name: str) -> None:
    part = only_part(model_of(name))
    assert {each.piece for each in part.positions} == {None}
    assert {piece.log_probability for piece in part.pieces} == {None}


@pytest.mark.parametrize("name", ["levenshtein", "several drafts"])
def test_the_passes_of_levenshtein_are_its_iterations(name: str) -> None:
    part = only_part(model_of(name))
    first, *_, last = part.passes
    assert all(first.is_masked)
    assert last.pieces == tuple(piece.text for piece in part.pieces)
    assert not any(last.is_changed)  # the iteration that finds nothing to edit
    for before, after in pairwise(part.passes):
        kept = [piece for piece, is_new in zip(after.pieces, after.is_changed, strict=True) if not is_new]
        rest = iter(before.pieces)
        assert all(piece in rest for piece in kept)  # in their order
    assert last.lengths == tuple(length for length, _ in last.candidates)
    assert len(last.lengths) == (3 if name == "several drafts" else 1)
    assert last.score == pytest.approx(part.score)
    assert all((piece.log_probability or 1) <= 0 for piece in part.pieces)


def test_an_empty_translation_has_no_pieces() -> None:
    model = model_of("ctc alone")
    branch = branch_of(model.translator, "nat")
    assert isinstance(branch, CtcBranch)
    weights = {name: value.clone() for name, value in model.translator.state_dict().items()}
    with torch.no_grad():
        for module in branch.decoder.modules():
            if isinstance(module, nn.LayerNorm):  # all states are 1, which makes the blank certain
                nn.init.zeros_(module.weight)
                nn.init.ones_(module.bias)
        nn.init.ones_(branch.blank.weight)
    part = only_part(model)
    model.translator.load_state_dict(weights)
    assert (part.text, part.pieces) == ("", ())
    assert {each.text for each in part.positions} == {"∅"}


class PlainSearch:
    """A search as another package may have it: it translates, and has no replay."""

    def __init__(self, search: MaskPredictSearch) -> None:
        self._search = search
        self.copies, self.is_stepwise, self.most, self.flops = search.copies, search.is_stepwise, search.most, search.flops

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        return self._search(encoded, n_best)


class PlainBranch(MaskPredictBranch):
    def search(self, decoding: Decoding) -> PlainSearch:  # type: ignore[override]
        return PlainSearch(super().search(decoding))


class Plain(MaskPredict):
    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> PlainBranch:
        return PlainBranch(model, objective, tokens, layers)


def test_a_search_without_a_replay_shows_the_translation_and_the_verdict() -> None:
    of_package = model_of("mask-predict")
    experiment = of_package.experiment.model_copy(update={"system": Plain()})
    torch.manual_seed(1)
    translator = experiment.build_translator(of_package.vocabularies).eval()
    model = Model(experiment, translator, of_package.vocabularies)
    part = only_part(model)
    assert part.text == model.translate([SENTENCE])[0].text
    assert {piece.log_probability for piece in part.pieces} == {None}
    assert all(piece.verdict for piece in part.pieces)
    assert [maps.name for maps in part.attention] == [
        "AT decoder: cross-attention",
        "AT decoder: self-attention",
        "encoder: self-attention",
    ]


@pytest.mark.parametrize("name", ["mask-predict", "ctc", "nad-ad"])
def test_each_part_of_a_long_sentence_is_shown(name: str) -> None:
    model = model_of(name)
    sentence = " ".join([SENTENCE] * 9)
    [line] = model.translate([sentence])
    found = inspect_sentence(model, sentence)
    assert len(found.parts) == line.parts > 1
    assert found.translation == line.text
    assert sum(len(part.source) - 1 for part in found.parts) == line.pieces


def test_half_precision_and_settings_of_the_call_are_used() -> None:
    model = model_of("mask-predict")
    config = model.experiment.decoding.model_copy(update={"iterations": 2, "precision": "bf16"})
    found = inspect_sentence(model, SENTENCE, config)
    assert found.translation == model.translate([SENTENCE], config)[0].text
    assert len(found.parts[0].passes) == 2
    assert found.decoding["iterations"] == 2
    at = inspect_sentence(model, SENTENCE, config, "at")
    assert at.translation == model.translate([SENTENCE], config, "at")[0].text
    assert at.parts[0].passes == ()


def test_an_inspection_leaves_a_model_in_training_mode() -> None:
    model = model_of("glat")
    model.translator.train()
    trained = inspect_sentence(model, SENTENCE)
    assert model.translator.training
    model.translator.eval()
    assert record_of(trained) == record_of(inspect_sentence(model, SENTENCE))


@pytest.mark.parametrize("sentence", ["", " \t "])
def test_an_empty_sentence_is_refused(sentence: str) -> None:
    with pytest.raises(UserError, match=r"^the sentence is empty; give one to translate\.$"):
        inspect_sentence(model_of("ctc"), sentence)


def test_a_record_is_json_with_every_weight() -> None:
    found = inspect_sentence(model_of("mask-predict"), SENTENCE)
    record = json.loads(json.dumps(record_of(found), allow_nan=False))
    assert isinstance(found, Inspection)
    [part], [maps, *_] = record["parts"], found.parts[0].attention
    assert maps.weights_LHTS is not None
    torch.testing.assert_close(torch.tensor(part["attention"][0]["weights"]), maps.weights_LHTS, atol=1e-5, rtol=0)
    assert part["passes"][0]["candidates"][0].keys() == {"length", "score"}
