"""Vocabularies: sentencepiece BPE models, which turn text into token ids and back."""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from mtnat.errors import DataError
from mtnat.tokens import BOS, EOS, PAD, SPECIAL, UNK

JOINT_FILE, SOURCE_FILE, TARGET_FILE = "joint.model", "source.model", "target.model"
# Maximum number of lines to train a vocabulary on. sentencepiece holds all of them in memory, and more lines hardly change
# the vocabulary.
MOST_TRAINING_LINES = 1_000_000
# In a corpus of more lines, the rarest characters (0.02 % of the text) get no piece: most belong to foreign scripts.
LARGE_CORPUS_LINES = 500_000
_LONGEST_LINE_BYTES = 65_536
_RESERVED = "▅"
"""sentencepiece writes this character (U+2585) for unknown ones, and reads no line that contains it."""
_FEWEST_FOR_THREADS = 4_096
"""Number of lines from which sentencepiece works in threads, which it starts for every call. Where memory is short, a thread
may fail to start, and sentencepiece then ends the call or the process."""


class Vocabulary:
    """A sentencepiece BPE model. It can be pickled.

    `encode` normalises text to NFKC and reduces each run of white space to one space; `decode` returns text in this form.
    Text cannot contain special tokens: ``<mask>`` or ``</s>`` in a text are ordinary characters.
    """

    def __init__(self, model: bytes) -> None:
        """Loads a serialised sentencepiece model.

        Raises:
            DataError: if the bytes are not a sentencepiece model.
        """
        self.model = model
        unfit = DataError("the vocabulary is not a sentencepiece model; prepare the data again.")
        if not model:  # sentencepiece accepts it, and has no pieces
            raise unfit
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError:
            raise unfit from None

    @classmethod
    def train(cls, lines: Iterable[str], size: int, *, coverage: float = 1.0) -> "Vocabulary":
        """Trains a BPE vocabulary of exactly `size` pieces; equal lines give an equal model.

        Args:
            coverage: share of the characters of the text that get a piece; the others become UNK.

        Raises:
            DataError: if the lines hold too few or too many different pieces for `size`.
        """
        model = io.BytesIO()
        left_out = _LeftOut()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=left_out.counted(lines),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                character_coverage=coverage,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                pad_piece="<pad>",
                control_symbols=["<mask>"],  # gets the next free id, MASK; text could contain a user-defined symbol
                max_sentence_length=_LONGEST_LINE_BYTES,
                num_threads=1,  # more threads would make the order of equally frequent merges depend on the machine
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(_size_problem(size, str(error), left_out)) from None
        return cls(model.getvalue())

    def encode(self, lines: Sequence[str], *, threads: int | None = None) -> list[list[int]]:
        """Returns the piece ids of each line, without EOS. The number of threads does not change the result.

        Other Python threads run meanwhile, since sentencepiece 0.2.3 releases the GIL.

        Args:
            threads: by default `usable_cores()`, or none for a short text.
        """
        if threads is None and len(lines) < _FEWEST_FOR_THREADS:
            return [self._processor.encode(line) for line in lines]
        # Lists, because a numpy array for each line takes a third longer, and older releases cannot return arrays.
        rows: list[list[int]] = self._processor.encode(list(lines), num_threads=threads or usable_cores())
        return rows

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Returns the text of each row of piece ids; special tokens are left out."""
        pieces = [[int(token) for token in row if token not in SPECIAL] for row in rows]
        if len(pieces) < _FEWEST_FOR_THREADS:
            return [self._processor.decode(row) for row in pieces]
        texts: list[str] = self._processor.decode(pieces, num_threads=usable_cores())
        return texts

    def piece(self, token: int) -> str:
        """Returns the piece of a token as sentencepiece writes it: ``▁`` stands for a space."""
        return str(self._processor.id_to_piece(token))

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[bytes]]:
        return Vocabulary, (self.model,)


@dataclass(frozen=True)
class Vocabularies:
    """The source and the target vocabulary; if `joint`, both are the same object."""

    source: Vocabulary
    target: Vocabulary
    joint: bool

    def save(self, folder: Path) -> None:
        """Writes `joint.model`, or `source.model` and `target.model`, into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.joint:
            (folder / JOINT_FILE).write_bytes(self.source.model)
        else:
            (folder / SOURCE_FILE).write_bytes(self.source.model)
            (folder / TARGET_FILE).write_bytes(self.target.model)

    @classmethod
    def load(cls, folder: Path) -> "Vocabularies":
        """Reads the vocabularies that `save` has written.

        Raises:
            DataError: if a file is missing or is not a vocabulary.
        """
        if (folder / JOINT_FILE).exists():
            both = _read(folder / JOINT_FILE)
            return cls(both, both, joint=True)
        return cls(_read(folder / SOURCE_FILE), _read(folder / TARGET_FILE), joint=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the models. Vocabularies with equal fingerprints have equal token ids."""
        models = [self.source.model] if self.joint else [self.source.model, self.target.model]
        return hashlib.sha256(b"".join(hashlib.sha256(model).digest() for model in models)).hexdigest()


def usable_cores() -> int:
    """Returns the number of threads this process may use: its CPU cores, or $OMP_NUM_THREADS if that is less.

    OMP_NUM_THREADS counts because Ray limits the cores of a worker only through this variable.
    """
    cores = len(os.sched_getaffinity(0))
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # may be a list, one number per nesting level
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def _read(path: Path) -> Vocabulary:
    try:
        return Vocabulary(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a folder that holds vocabularies.") from None
    except DataError:
        raise DataError(f"{path}: is not a sentencepiece model; prepare the data or train the model again.") from None


class _LeftOut:
    """The lines that sentencepiece does not read."""

    def __init__(self) -> None:
        self._reserved = self._long = 0

    def counted(self, lines: Iterable[str]) -> Iterator[str]:
        """Yields the lines, and counts those that sentencepiece will leave out."""
        for line in lines:
            if _RESERVED in line:
                self._reserved += 1
            elif len(line) > _LONGEST_LINE_BYTES or len(line.encode()) > _LONGEST_LINE_BYTES:
                self._long += 1
            yield line

    def __str__(self) -> str:
        """Returns the reasons with the numbers of lines; empty if no line was left out."""
        reasons = {
            f"contain {_RESERVED} (U+{ord(_RESERVED):X}), which it reserves": self._reserved,
            f"have more than {_LONGEST_LINE_BYTES:,} bytes": self._long,
        }
        return " and ".join(f"{count:,} that {reason}" for reason, count in reasons.items() if count)


def _size_problem(size: int, reason: str, left_out: _LeftOut) -> str:
    """Translates sentencepiece's reason for not training a vocabulary into a message for users."""
    problem = _problem_of(size, reason)
    if found := str(left_out):
        return f"{problem.rpartition('; ')[0]}; sentencepiece leaves out lines, {found}: change or remove them."
    return problem


def _problem_of(size: int, reason: str) -> str:
    where = "data.vocabulary_size:"
    greatest = re.search(r"value <= (\d+)", reason)
    # For empty text, sentencepiece 0.2.0 reports a maximum size equal to the number of special tokens.
    if "empty()" in reason or "all_chars_count" in reason or (greatest and int(greatest[1]) == len(SPECIAL)):
        return "data.train: contains no text to train a vocabulary on; give a training corpus."
    if greatest:
        return f"{where} must not exceed what the training text can fill, {greatest[1]} pieces; got {size}."
    if least := re.search(r"required_chars\. (\d+) vs (\d+)", reason):
        return f"{where} must hold every character of the training text, {least[2]} pieces with the special tokens; got {size}."
    return f"{where} sentencepiece cannot make {size} pieces ({' '.join(reason.split())}); check the training text."
