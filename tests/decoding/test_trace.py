"""A trace shows the passes of the search."""

from itertools import pairwise

import pytest
from readers import reader, vocabularies

from mtnat.config import build
from mtnat.decoding import MaskPredictDecoding, Search, trace, translate
from mtnat.systems import search_of

LINE = "the old cat sees a green house."


def search(config: MaskPredictDecoding) -> Search:
    return search_of(reader(), "nat", config)


@pytest.mark.parametrize(
    "settings", [{}, {"rerank": "at"}, {**MaskPredictDecoding.presets["fast"]}], ids=["plain", "reranked", "fast"]
)
def test_the_last_pass_of_a_trace_is_the_translation(settings: dict[str, object]) -> None:
    config = build(MaskPredictDecoding, settings)
    [traced] = trace(reader(), vocabularies(), LINE, search(config))
    [line] = translate(reader(), vocabularies(), [LINE], config, search(config))
    best, passes = line.translations[0], traced.passes
    assert traced.text == best.text
    assert passes[-1].pieces == tuple(vocabularies().target.piece(token) for token in best.tokens)
    assert len(passes) == best.passes


def test_each_pass_masks_fewer_pieces_and_changes_only_masked_pieces() -> None:
    config = MaskPredictDecoding(iterations=5, length_candidates=3)
    [traced] = trace(reader(), vocabularies(), LINE, search(config))
    passes = traced.passes
    length = len(passes[0].pieces)
    assert passes[0].is_masked == passes[0].is_changed == (True,) * length
    assert [sum(each.is_masked) for each in passes] == [
        length * (5 - done) // 5 for done in range(5) if length * (5 - done) // 5
    ]
    for before, after in pairwise(passes):
        changed = [old != new for old, new in zip(before.pieces, after.pieces, strict=True)]
        assert list(after.is_changed) == changed
        assert all(was_masked for was_masked, is_other in zip(after.is_masked, changed, strict=True) if is_other)
    assert all(len(each.lengths) == 3 for each in passes)


def test_dropped_length_candidates_leave_the_trace() -> None:
    config = MaskPredictDecoding(narrow_after=2, narrow_to=1, length_candidates=4)
    [traced] = trace(reader(), vocabularies(), LINE, search(config))
    passes = traced.passes
    assert [len(each.lengths) for each in passes][:3] == [4, 4, 1]


def test_a_long_line_has_a_trace_for_each_part_and_an_empty_line_has_none() -> None:
    config = MaskPredictDecoding()
    assert trace(reader(), vocabularies(), "", search(config)) == []
    [line] = translate(reader(), vocabularies(), ["the dog. " * 9], config, search(config))
    assert line.parts > 1
    assert len(trace(reader(), vocabularies(), "the dog. " * 9, search(config))) == line.parts
