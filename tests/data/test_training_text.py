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
    return {split: pair for split in ("train", "valid", "test")} | {"vocabulary_size": 64}


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
        (["1", "0", "1"], "data.selected: must have a line for each of the 4 training pairs; got 3 in s; select from this corpus."),
        (["0", "0", "0", "0"], "data.selected: s leaves out every pair; give a file that uses some."),
        (["1", "yes", "1", "0"], "data.selected: s, line 2: must be 0 or 1; got 'yes'."),
    ],
)
def test_a_wrong_selection_is_one_sentence(settings: dict[str, Any], tmp_path: Path, text: list[str], problem: str) -> None:
    assert check(DataConfig(**settings, selected=lines(tmp_path / "s", *text))) == [problem]


def test_missing_files_are_reported_by_their_setting(settings: dict[str, Any]) -> None:
    for setting in ("selected", "rejuvenated"):
        (problem,) = check(DataConfig(**settings, **{setting: "nowhere"}))
        assert problem.startswith(f"data.{setting}: ")
        assert "nowhere: no such file" in problem


def test_rejuvenated_text_of_another_length_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    short = lines(tmp_path / "r.de", "A", "B", "C")
    assert check(DataConfig(**settings, rejuvenated=short)) == [
        "data.rejuvenated: must have a line for each of the 4 training sources; got 3 in r.de; rejuvenate this corpus."
    ]
    with pytest.raises(DataError, match=r"no line for some training sources"):
        pairs(settings, tmp_path, rejuvenated=short)
