"""The training text of a corpus: targets that a model has written, and selections of pairs."""

from pathlib import Path
from typing import Any

import pytest

from mtnat.data import DataConfig, check
from mtnat.data.training_text import open_corpus
from mtnat.errors import DataError


def lines(path: Path, *text: str) -> str:
    path.write_text("".join(f"{line}\n" for line in text))
    return path.name


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A corpus of four training pairs, whose sides are also its validation and test text."""
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path))
    monkeypatch.setenv("MTNAT_CACHE", str(tmp_path / "cache"))
    pair = (lines(tmp_path / "t.en", "a", "b", "c", "d"), lines(tmp_path / "t.de", "A", "B", "C", "D"))
    return dict.fromkeys(("train", "valid", "test"), pair) | {"vocabulary_size": 64}


def pairs(settings: dict[str, Any], cache: Path, **more: Any) -> list[tuple[str, str]]:
    return list(open_corpus(DataConfig(**settings, **more), cache).pairs("train"))


def test_rejuvenated_targets_replace_the_corpus_own_unless_there_are_distilled_ones(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    rejuvenated, distilled = lines(tmp_path / "r.de", "A", "B", "X", "D"), lines(tmp_path / "d.de", "1", "2", "3", "4")
    changed = DataConfig(**settings, rejuvenated=rejuvenated)
    assert changed.text == "rejuvenated"
    assert list(open_corpus(changed, tmp_path).pairs("train")) == [("a", "A"), ("b", "B"), ("c", "X"), ("d", "D")]
    assert list(open_corpus(changed, tmp_path).pairs("valid")) == [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D")]
    assert pairs(settings, tmp_path, rejuvenated=rejuvenated, distilled=distilled)[2] == ("c", "3")


def test_a_selection_leaves_pairs_out_and_changes_the_digest(settings: dict[str, Any], tmp_path: Path) -> None:
    selected = lines(tmp_path / "s", "1", "0", "0", "1")
    corpus = open_corpus(DataConfig(**settings, selected=selected), tmp_path)
    assert list(corpus.pairs("train")) == [("a", "A"), ("d", "D")]
    assert len(list(corpus.pairs("test"))) == 4
    assert corpus.train_size() == 2
    assert corpus.train_digest() != open_corpus(DataConfig(**settings), tmp_path).train_digest()
    distilled = lines(tmp_path / "d.de", "1", "2", "3", "4")
    assert pairs(settings, tmp_path, selected=selected, distilled=distilled) == [("a", "1"), ("d", "4")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            ["1", "0", "1"],
            "data.selected: must have a line for each of the 4 training pairs; got 3 in s; select from this corpus.",
        ),
        (["0", "0", "0", "0"], "data.selected: s leaves out every pair; give a file that uses some."),
        (["1", "yes", "1", "0"], "data.selected: s, line 2: must be 0 or 1; got 'yes'."),
    ],
)
def test_a_wrong_selection_is_one_sentence(settings: dict[str, Any], tmp_path: Path, text: list[str], problem: str) -> None:
    assert check(DataConfig(**settings, selected=lines(tmp_path / "s", *text))) == [problem]


def test_missing_files_are_reported_by_their_setting(settings: dict[str, Any]) -> None:
    for setting in ("selected", "rejuvenated"):
        (problem,) = check(DataConfig(**{**settings, setting: "nowhere"}))
        assert problem.startswith(f"data.{setting}: ")
        assert "nowhere: no such file" in problem


def test_rejuvenated_text_of_another_length_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    short = lines(tmp_path / "r.de", "A", "B", "C")
    assert check(DataConfig(**settings, rejuvenated=short)) == [
        "data.rejuvenated: must have a line for each of the 4 training sources; got 3 in r.de; rejuvenate this corpus."
    ]
    with pytest.raises(DataError, match=r"no line for some training sources"):
        pairs(settings, tmp_path, rejuvenated=short)


STAGES = [{"text": "raw", "share": 2}, {"text": "bidirectional", "share": 2}, {"text": "distilled", "share": 3}]


def is_right_way_round(found: list[tuple[str, str]]) -> bool:
    """Whether every source and every target is in its own language: sources are lower case, targets are upper case."""
    return all(source.islower() and target.isupper() for source, target in found)


class TestLexicalFrequency:
    """Three pairs, of which the two teachers write one in the same way."""

    @pytest.fixture
    def three(self, settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
        lines(tmp_path / "t.en", "a", "b", "c")
        lines(tmp_path / "t.de", "A", "B", "C")
        distilled = lines(tmp_path / "kd.de", "AX", "BX", "C")
        reverse = lines(tmp_path / "kd.en", "ax", "bx", "c")
        return {**settings, "distilled": distilled, "reverse_distilled": reverse, "stages": STAGES}

    def test_the_stages_have_three_five_and_three_pairs(self, three: dict[str, Any], tmp_path: Path) -> None:
        data = DataConfig(**three)
        assert data.texts == ("raw", "bidirectional", "distilled")
        found = [list(open_corpus(data, tmp_path, text).pairs("train")) for text in data.texts]
        assert found == [
            [("a", "A"), ("b", "B"), ("c", "C")],
            [("a", "AX"), ("b", "BX"), ("c", "C"), ("ax", "A"), ("bx", "B")],
            [("a", "AX"), ("b", "BX"), ("c", "C")],
        ]
        assert [open_corpus(data, tmp_path, text).train_size() for text in data.texts] == [3, 5, 3]
        assert len({open_corpus(data, tmp_path, text).train_digest() for text in data.texts}) == 3
        assert list(open_corpus(data, tmp_path, "bidirectional").pairs("valid")) == found[0]

    def test_a_swapped_reverse_text_is_seen_by_its_languages(self, three: dict[str, Any], tmp_path: Path) -> None:
        right = list(open_corpus(DataConfig(**three), tmp_path, "bidirectional").pairs("train"))
        assert is_right_way_round(right)
        swapped = {**three, "reverse_distilled": three["distilled"]}  # targets where sources belong
        assert not is_right_way_round(list(open_corpus(DataConfig(**swapped), tmp_path, "bidirectional").pairs("train")))

    def test_duplicates_within_a_text_are_left_out_too_and_only_exact_ones(self, three: dict[str, Any], tmp_path: Path) -> None:
        lines(tmp_path / "t.en", "a", "a", "c")
        lines(tmp_path / "kd.de", "AX", "AX", "C ")
        found = list(open_corpus(DataConfig(**three), tmp_path, "bidirectional").pairs("train"))
        assert found == [("a", "AX"), ("c", "C "), ("ax", "A"), ("bx", "B"), ("c", "C")]

    def test_a_selection_applies_to_both_halves(self, three: dict[str, Any], tmp_path: Path) -> None:
        data = DataConfig(**three, selected=lines(tmp_path / "s", "0", "1", "0"))
        found = list(open_corpus(data, tmp_path, "bidirectional").pairs("train"))
        assert found == [("b", "BX"), ("bx", "B")]

    def test_a_text_without_its_files_is_one_sentence(self, three: dict[str, Any]) -> None:
        assert check(DataConfig(**{**three, "reverse_distilled": None})) == [
            "data.stages: bidirectional needs data.reverse_distilled, which names no file; set it, or drop this stage."
        ]

    def test_reverse_sources_of_another_length_are_refused(self, three: dict[str, Any], tmp_path: Path) -> None:
        lines(tmp_path / "kd.en", "ax", "bx")
        assert check(DataConfig(**three)) == [
            "data.reverse_distilled: must have a line for each of the 3 training targets; got 2 in kd.en; "
            "distil this corpus in the opposite direction."
        ]

    def test_stages_end_at_shares_of_the_training(self, three: dict[str, Any]) -> None:
        data = DataConfig(**three)
        assert data.stage_ends(70_000) == (20_000, 40_000, 70_000)
        assert data.stage_ends(7) == (2, 4, 7)
        assert data.text == "raw, then bidirectional, then distilled"
        plain = DataConfig(**{**three, "stages": []})
        assert (plain.stage_ends(70_000), plain.text) == ((70_000,), "distilled")


def test_the_reverse_of_a_corpus_has_its_sides_exchanged_and_only_its_own_text(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    data = DataConfig(**{**settings, "distilled": "d.de", "rejuvenated": "r.de", "stages": STAGES, "joint_vocabulary": False})
    turned = data.reversed
    assert (turned.train, turned.distilled, turned.rejuvenated, turned.stages) == (("t.de", "t.en"), None, None, ())
    assert (turned.joint_vocabulary, turned.vocabulary_size) == (False, 64)
    assert list(open_corpus(turned, tmp_path).pairs("train")) == [("A", "a"), ("B", "b"), ("C", "c"), ("D", "d")]
    grammar = DataConfig(corpus="grammar-en-de", corpus_size=100, corpus_seed=3)
    assert grammar.reversed.reversed == grammar
    own, other = (list(open_corpus(each, tmp_path).pairs("train")) for each in (grammar, grammar.reversed))
    assert other == [(target, source) for source, target in own]
