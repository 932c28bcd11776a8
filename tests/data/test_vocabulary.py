import os
import pickle
from collections.abc import Iterable
from pathlib import Path

import pytest

from mtnat.data import Vocabularies, Vocabulary
from mtnat.data.vocabulary import usable_cores
from mtnat.errors import DataError
from mtnat.tokens import BOS, EOS, MASK, PAD, SPECIAL, UNK

LINES = [
    f"the {noun} {verb} the {other} ."
    for noun in ("dog", "cat", "cow")
    for verb in ("sees", "hears")
    for other in ("man", "boy")
]


def small(lines: Iterable[str] = LINES, size: int = 40) -> Vocabulary:
    return Vocabulary.train(lines, size)


def test_text_survives_encoding_and_decoding() -> None:
    vocabulary = small()
    assert vocabulary.decode(vocabulary.encode(LINES)) == LINES
    assert len(vocabulary) == 40


def test_the_number_of_threads_does_not_change_the_encoding() -> None:
    vocabulary = small()
    one_by_one = [vocabulary.encode([line])[0] for line in LINES * 50]
    assert all(vocabulary.encode(LINES * 50, threads=threads) == one_by_one for threads in (1, 2, 5))


def test_a_long_text_has_the_pieces_of_its_lines() -> None:
    """A short one is not encoded in threads."""
    vocabulary = small()
    copies = 1 + 4_096 // len(LINES)
    pieces = vocabulary.encode(LINES)
    assert vocabulary.encode(LINES * copies) == pieces * copies
    assert vocabulary.decode(pieces * copies) == LINES * copies


@pytest.mark.parametrize(
    ("limit", "most"), [("1", 1), ("1,4", 1), ("1000000", None), ("", None), ("0", None), ("-3", None), ("many", None)]
)
def test_usable_cores_are_those_of_the_process_limited_by_omp_num_threads(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert usable_cores() == (most or len(os.sched_getaffinity(0)))


def test_special_tokens_have_their_ids_and_are_dropped_from_text() -> None:
    vocabulary = small()
    assert [vocabulary.piece(token) for token in (PAD, UNK, BOS, EOS, MASK)] == ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    (row,) = vocabulary.encode(["the dog"])
    assert vocabulary.decode([[BOS, *row, MASK, UNK, EOS, PAD, PAD]]) == ["the dog"]


@pytest.mark.parametrize("text", ["<mask>", "</s>", "<pad> <s>", "the <mask> dog"])
def test_text_never_becomes_a_special_token(text: str) -> None:
    vocabulary = small([*LINES, "< m a s k > / p d"], 60)
    (row,) = vocabulary.encode([text])
    assert not set(row) & set(SPECIAL)
    assert vocabulary.decode([row]) == [text]


def test_an_unseen_character_is_unknown() -> None:
    assert UNK in small().encode(["the ж"])[0]


def test_an_empty_line_has_no_pieces() -> None:
    assert small().encode(["", "  "]) == [[], []]
    assert small().decode([[], [PAD]]) == ["", ""]


def test_equal_text_gives_an_equal_model() -> None:
    assert small().model == small().model
    assert small().model != small(reversed([*LINES, "a zebra"])).model


def test_training_and_using_a_vocabulary_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    small().encode(["the dog"])
    with pytest.raises(DataError):
        small(size=5_000)
    assert capfd.readouterr() == ("", "")


def test_a_vocabulary_can_be_pickled() -> None:
    vocabulary: Vocabulary = pickle.loads(pickle.dumps(small()))
    assert vocabulary.encode(LINES) == small().encode(LINES)


def test_too_large_a_vocabulary_size_is_refused_with_the_largest_possible_size() -> None:
    with pytest.raises(DataError, match=r"data\.vocabulary_size: must not exceed .* (\d+) pieces; got 5000\.$") as caught:
        small(size=5_000)
    greatest = int(str(caught.value).split(" pieces")[0].split()[-1])
    assert len(small(size=greatest)) == greatest
    with pytest.raises(DataError):
        small(size=greatest + 1)


def test_too_small_a_vocabulary_size_is_refused_with_the_smallest_possible_size() -> None:
    with pytest.raises(
        DataError, match=r"must hold every character of the training text, (\d+) pieces .*; got 10\.$"
    ) as caught:
        small(size=10)
    least = int(str(caught.value).split(" pieces")[0].split()[-1])
    assert len(small(size=least)) == least


@pytest.mark.parametrize("lines", [[], ["", " "], ["\u200b"]])
def test_empty_text_is_refused(lines: list[str]) -> None:
    with pytest.raises(DataError, match=r"^data\.train: contains no text"):
        small(lines)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("▅ a line", r"3 that contain ▅ \(U\+2585\), which it reserves"),
        ("a long line " * 6_000, "3 that have more than 65,536 bytes"),
    ],
)
def test_lines_that_sentencepiece_leaves_out_are_named(line: str, reason: str) -> None:
    told = rf"contains no text to train a vocabulary on; sentencepiece leaves out lines, {reason}: change or remove them\.$"
    with pytest.raises(DataError, match=told):
        Vocabulary.train([line] * 3, 64)
    with pytest.raises(DataError, match=rf"must not exceed .*; sentencepiece leaves out lines, {reason}"):
        Vocabulary.train([*[line] * 3, "some text"], 64)


def test_a_joint_vocabulary_is_one_file_and_one_object(tmp_path: Path) -> None:
    both = small()
    Vocabularies(both, both, joint=True).save(tmp_path)
    loaded = Vocabularies.load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["joint.model"]
    assert loaded.joint
    assert loaded.source is loaded.target
    assert loaded.fingerprint == Vocabularies(both, both, joint=True).fingerprint


def test_separate_vocabularies_keep_their_sides(tmp_path: Path) -> None:
    separate = Vocabularies(small(), small(["der Hund", "die Katze", "das Rind"], 22), joint=False)
    separate.save(tmp_path)
    loaded = Vocabularies.load(tmp_path)
    assert not loaded.joint
    assert (len(loaded.source), len(loaded.target)) == (40, 22)
    assert loaded.fingerprint == separate.fingerprint
    assert loaded.fingerprint != Vocabularies(separate.target, separate.source, joint=False).fingerprint


def test_a_folder_without_or_with_broken_vocabularies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source\.model: cannot be read"):
        Vocabularies.load(tmp_path)
    for content in (b"no model", b""):
        (tmp_path / "joint.model").write_bytes(content)
        with pytest.raises(DataError, match=r"joint\.model: is not a sentencepiece model"):
            Vocabularies.load(tmp_path)
