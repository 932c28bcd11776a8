"""The choice between the NAT decoder's translation and the AT decoder's, sentence by sentence."""

from dataclasses import replace as changed

import pytest
import torch
from torch import nn

from mtnat.config import build, replace
from mtnat.decoding import Decoding, FallbackSearch, Hypothesis, MaskPredictDecoding, decode
from mtnat.decoding.batching import pad
from mtnat.decoding.rerank import at_scores
from mtnat.errors import ConfigError, UserError
from mtnat.experiment import Experiment
from mtnat.model import Translator
from mtnat.model.flops import ModelFlops
from mtnat.systems import AtBranch, CtcDecoding, branch_of, search_of
from mtnat.tokens import EOS

MASK_PREDICT = MaskPredictDecoding(iterations=3, length_candidates=3, beam=2)
CTC = CtcDecoding(prefix_beam=4, beam=2)
SOURCES = ([7, 8, 9, 10, 11], [12, 13, 14], [5, 6, 7, 8, 9, 10, 11], [29], [15, 16, 17, 18], [19, 20, 19, 20, 21, 22])
EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "max_length": 24},
        "model": {
            "width": 16,
            "heads": 2,
            "feed_forward": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "max_positions": 24,
        },
        "objective": {"schedule": {"kind": "constant", "value": 0.5}},
        "training": {},
    },
)
KEEPS_ALL, KEEPS_NONE = -1e9, 1e9


def translator_of(decoding: Decoding, value: float = 0.5) -> Translator:
    """Random weights so large that translations and scores differ."""
    kind = {"mask-predict": "mask-predict", "ctc": "ctc"}[decoding.model_dump()["kind"]]
    torch.manual_seed(1)
    translator = replace(
        EXPERIMENT, {"system.kind": kind, "objective.schedule": {"kind": "constant", "value": value}}
    ).translator_of(30, 30, joint=True)
    for parameter in translator.parameters():
        nn.init.normal_(parameter, std=0.4)
    return translator


def found(translator: Translator, decoding: Decoding, name: str = "nat", n_best: int = 1) -> list[list[Hypothesis]]:
    search = search_of(translator, name, decoding)  # type: ignore[arg-type]
    return decode(translator, SOURCES, decoding, search, n_best)


def below(decoding: Decoding, threshold: float, **settings: str) -> Decoding:
    return decoding.model_copy(update={"fallback_below": threshold, **settings})


def rounded(hypotheses: list[list[Hypothesis]]) -> list[list[Hypothesis]]:
    """Scores depend on the batch by rounding."""
    return [[changed(each, score=round(each.score, 4)) for each in best] for best in hypotheses]


@pytest.mark.parametrize("decoding", [MASK_PREDICT, CTC], ids=["mask-predict", "ctc"])
@pytest.mark.parametrize("score", ["search", "at"])
def test_the_threshold_decides_for_each_sentence(decoding: Decoding, score: str) -> None:
    translator = translator_of(decoding)
    nat, at = found(translator, decoding), found(translator, decoding, "at")
    assert [best[0].tokens for best in nat] != [best[0].tokens for best in at]
    scores = [best[0].score for best in nat]
    if score == "at":
        branch = branch_of(translator, "at")
        assert isinstance(branch, AtBranch)
        with torch.no_grad():
            scores = [
                at_scores(
                    branch.decoder.eval(),
                    translator.eval().encode(pad([source], torch.device("cpu"))),
                    torch.tensor([[[*best[0].tokens, EOS]]]),
                    torch.tensor([[len(best[0].tokens)]]),
                    decoding.length_penalty,
                ).item()
                for source, best in zip(SOURCES, nat, strict=True)
            ]
    ordered = sorted(scores)
    for count in range(len(SOURCES) + 1):
        threshold = (ordered[count - 1] + ordered[count]) / 2 if 0 < count < len(SOURCES) else (-100.0, 1.0)[count > 0]
        chosen = found(translator, below(decoding, threshold, fallback_score=score))
        assert sum(best[0].fallback_passes > 0 for best in chosen) == count
        for row, best in enumerate(chosen):
            fallen = at[row][0]
            expected = nat[row][0]
            if scores[row] < threshold:
                passes = expected.passes + fallen.passes
                expected = changed(fallen, passes=passes, fallback_passes=fallen.passes)
            assert rounded([best]) == rounded([[expected]])


@pytest.mark.parametrize("decoding", [MASK_PREDICT, CTC], ids=["mask-predict", "ctc"])
def test_a_translation_does_not_depend_on_its_batch(decoding: Decoding) -> None:
    translator = translator_of(decoding)
    scores = sorted(best[0].score for best in found(translator, decoding))
    config = below(decoding, (scores[2] + scores[3]) / 2)
    together = found(translator, config, n_best=2)
    search = search_of(translator, "nat", config)
    assert rounded(together) == rounded([decode(translator, [source], config, search, 2)[0] for source in SOURCES])
    assert {best[0].fallback_passes > 0 for best in together} == {False, True}
    few = config.model_copy(update={"max_tokens_per_batch": 64})
    assert rounded(found(translator, few, n_best=2)) == rounded(together)


def test_with_reranking_the_at_decoders_score_decides_and_is_not_computed_again() -> None:
    translator = translator_of(MASK_PREDICT)
    reranked = MASK_PREDICT.model_copy(update={"rerank": "at"})
    scores = sorted(best[0].score for best in found(translator, reranked))
    threshold = (scores[1] + scores[2]) / 2
    by_search, by_at = (found(translator, below(reranked, threshold, fallback_score=each)) for each in ("search", "at"))
    assert rounded(by_search) == rounded(by_at)
    assert sum(best[0].fallback_passes > 0 for best in by_search) == 2


def test_more_hypotheses_than_either_search_has_are_refused() -> None:
    translator = translator_of(MASK_PREDICT)
    config = below(MASK_PREDICT, KEEPS_NONE)
    assert search_of(translator, "nat", config).most == ("beam", 2)
    with pytest.raises(UserError, match="n_best: must be at least 1 and at most beam, 2; got 3"):
        found(translator, config, n_best=3)
    assert all(len(best) == 2 for best in found(translator, config, n_best=2)[:3])


def test_the_operations_are_those_of_both_searches_with_one_encoder_pass() -> None:
    translator = translator_of(MASK_PREDICT)
    work = ModelFlops(translator.config, 30)
    nat = search_of(translator, "nat", MASK_PREDICT)
    beam = search_of(translator, "at", MASK_PREDICT)
    search, scoring = (
        search_of(translator, "nat", below(MASK_PREDICT, -1.0, fallback_score=score)) for score in ("search", "at")
    )
    assert isinstance(search, FallbackSearch)
    assert isinstance(scoring, FallbackSearch)
    source, pieces, passes, steps = (torch.tensor(each) for each in ([5, 3, 7], [4, 2, 6], [3, 2, 3], [0, 4, 0]))
    plain = nat.flops(work, source, pieces, passes)
    assert search.flops(work, source, pieces, passes) == plain
    again = beam.flops(work, source[1:2], pieces[1:2], steps[1:2]) - work.encoder(source[1:2])
    assert search.flops(work, source, pieces, passes + steps, steps) == plain + again
    one_pass = work.memory(source) + work.at_pass(source, pieces + 1) + work.vocabulary(int(pieces.sum()) + 3)
    assert scoring.flops(work, source, pieces, passes) == plain + one_pass


def test_a_model_without_an_at_decoder_cannot_fall_back() -> None:
    alone = translator_of(MASK_PREDICT, value=1.0)
    assert len(found(alone, MASK_PREDICT)) == len(SOURCES)
    with pytest.raises(UserError, match="fallback_below: needs a model with an AT decoder"):
        found(alone, below(MASK_PREDICT, -1.0))
    with pytest.raises(ConfigError, match=r"decoding\.fallback_below: needs an objective that trains both decoders"):
        replace(EXPERIMENT, {"objective.schedule.value": 1.0, "decoding.fallback_below": -1.0})


def test_the_settings_of_the_fallback_are_named_where_they_matter() -> None:
    assert "fallback_below" not in MASK_PREDICT.settings_of("nat")
    assert {"fallback_below", "fallback_score", "beam", "length_penalty"} < {*below(MASK_PREDICT, -1.0).settings_of("nat")}
    assert "fallback_below" not in below(MASK_PREDICT, -1.0).settings_of("at")
