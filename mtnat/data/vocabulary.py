"""Text to token ids and back: sentencepiece BPE."""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from mtnat.errors import DataError
from mtnat.tokens import BOS, EOS, PAD, SPECIAL, UNK

JOINT_FILE, SOURCE_FILE, TARGET_FILE = "joint.model", "source.model", "target.model"
# So many lines decide a vocabulary; more change next to nothing and cost memory: sentencepiece holds them all.
MOST_TRAINING_LINES = 1_000_000
# A corpus of more lines than this gives up its rarest characters (0.02 % of the text), mostly stray scripts.
LARGE_CORPUS_LINES = 500_000
_LONGEST_LINE_BYTES = 65_536


class Vocabulary:
    """A sentencepiece BPE model; it pickles, and equal models have equal fingerprints.

    Text is NFKC-normalised and its white space is folded, so `decode` gives back text in that form. The special
    tokens cannot be written: ``<mask>`` or ``</s>`` in a text are ordinary characters.
    """

    def __init__(self, model: bytes) -> None:
        """A vocabulary from a serialised sentencepiece model.

        Raises:
            DataError: the bytes are no such model.
        """
        self.model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError:
            raise DataError("the vocabulary is not a sentencepiece model; prepare the data again.") from None

    @classmethod
    def train(cls, lines: Iterable[str], size: int, *, coverage: float = 1.0) -> "Vocabulary":
        """A BPE vocabulary of exactly `size` pieces; equal lines give an equal model.

        Args:
            coverage: share of the text's characters that get a piece; the others become UNK.

        Raises:
            DataError: the lines hold too few or too many different pieces for `size`.
        """
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                character_coverage=coverage,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                pad_piece="<pad>",
                control_symbols=["<mask>"],  # takes the next free id, MASK; a user-defined symbol could be typed
                max_sentence_length=_LONGEST_LINE_BYTES,
                num_threads=1,  # the order of equally frequent merges must not depend on the machine
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(_size_problem(size, str(error))) from None
        return cls(model.getvalue())

    def encode(self, lines: Sequence[str], *, threads: int | None = None) -> list[list[int]]:
        """The piece ids of each line, without EOS, the same for any number of threads.

        Python's other threads run on meanwhile: sentencepiece 0.2.3 releases the GIL.

        Args:
            threads: by default `usable_cores()`.
        """
        # Not as numpy arrays, which older releases lack: one for each line costs a third more than lists do.
        rows: list[list[int]] = self._processor.encode(list(lines), num_threads=threads or usable_cores())
        return rows

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The text of each row of piece ids; special ids are dropped."""
        pieces = [[int(token) for token in row if token not in SPECIAL] for row in rows]
        texts: list[str] = self._processor.decode(pieces, num_threads=usable_cores())
        return texts

    def piece(self, token: int) -> str:
        """How a token is written inside sentencepiece, with ``▁`` for a space before it."""
        return str(self._processor.id_to_piece(token))

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[bytes]]:
        return Vocabulary, (self.model,)


@dataclass(frozen=True)
class Vocabularies:
    """Both sides' vocabularies; one and the same where `joint`."""

    source: Vocabulary
    target: Vocabulary
    joint: bool

    def save(self, folder: Path) -> None:
        """Writes `joint.model`, or `source.model` and `target.model`."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.joint:
            (folder / JOINT_FILE).write_bytes(self.source.model)
        else:
            (folder / SOURCE_FILE).write_bytes(self.source.model)
            (folder / TARGET_FILE).write_bytes(self.target.model)

    @classmethod
    def load(cls, folder: Path) -> "Vocabularies":
        """What `save` wrote.

        Raises:
            DataError: a file is missing or is no vocabulary.
        """
        if (folder / JOINT_FILE).exists():
            both = _read(folder / JOINT_FILE)
            return cls(both, both, joint=True)
        return cls(_read(folder / SOURCE_FILE), _read(folder / TARGET_FILE), joint=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the models; token ids of equal fingerprints mean the same."""
        models = [self.source.model] if self.joint else [self.source.model, self.target.model]
        return hashlib.sha256(b"".join(hashlib.sha256(model).digest() for model in models)).hexdigest()


def usable_cores() -> int:
    """How many threads this process may keep busy: the cores it may run on, or fewer if OMP_NUM_THREADS says so.

    Ray limits a worker by that variable alone.
    """
    cores = len(os.sched_getaffinity(0))
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list holds one number per level of nesting
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def _read(path: Path) -> Vocabulary:
    try:
        return Vocabulary(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a folder that holds vocabularies.") from None
    except DataError:
        raise DataError(f"{path}: is not a sentencepiece model; prepare the data or train the model again.") from None


def _size_problem(size: int, reason: str) -> str:
    """One sentence for sentencepiece's words about a vocabulary it cannot make."""
    where = "data.vocabulary_size:"
    greatest = re.search(r"value <= (\d+)", reason)
    # sentencepiece 0.2.0 takes text without a character for one that fills the special tokens alone.
    if "empty()" in reason or "all_chars_count" in reason or (greatest and int(greatest[1]) == len(SPECIAL)):
        return "data.train: holds no text to make a vocabulary of; give a training corpus."
    if greatest:
        return f"{where} must not exceed what the training text can fill, {greatest[1]} pieces; got {size}."
    if least := re.search(r"required_chars\. (\d+) vs (\d+)", reason):
        return f"{where} must hold every character of the training text, {least[2]} pieces with the special tokens; got {size}."
    return f"{where} sentencepiece cannot make {size} pieces ({' '.join(reason.split())}); check the training text."
