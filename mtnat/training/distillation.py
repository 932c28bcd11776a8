"""Sequence-level knowledge distillation: processes share the translation of the training sources by a teacher."""

import hashlib
import json
from pathlib import Path

from mtnat.data import DataConfig
from mtnat.data.corpus import TextPair, open_raw_corpus, scan
from mtnat.data.corpus import read_lines as read_text
from mtnat.data.dataset import default_cache
from mtnat.decoding import Decoding
from mtnat.errors import DataError
from mtnat.training.model import Model
from mtnat.training.shards import LINES_PER_SHARD, Shards, Text, model_digest, teaching

# Part of every key. Raise it when a change of the code makes an equal teacher write different text.
_FORMAT = 1

SourceText = Text[str]
"""Lines to translate."""


def training_pairs(data: DataConfig) -> Text[TextPair]:
    """Returns a corpus's own training pairs.

    Raises:
        DataError: the corpus has problems; the error lists all of them.
    """
    corpus = open_raw_corpus(data, default_cache())
    if problems := corpus.problems():
        raise DataError(problems)
    return Text(lambda: corpus.pairs("train"), corpus.train_size(), corpus.train_digest())


def training_sources(data: DataConfig) -> SourceText:
    """Returns the source side of a corpus's training text.

    Raises:
        DataError: the corpus has problems; the error lists all of them.
    """
    pairs = training_pairs(data)
    return SourceText(lambda: (source for source, _ in pairs.read()), pairs.lines, pairs.digest)


def file_sources(path: Path) -> SourceText:
    """Returns the lines of a text file, plain or .gz.

    Raises:
        DataError: the file cannot be read or is empty.
    """
    found = scan(path, default_cache())
    return SourceText(lambda: read_text(path), found.lines, found.digest)


class Distillation(Shards[str]):
    """A teacher's translations of a text (Kim and Rush 2016), in a cache folder named by the hash of teacher and text."""

    def __init__(
        self,
        teacher: Path,
        sources: SourceText,
        decoding: Decoding,
        *,
        lines_per_shard: int = LINES_PER_SHARD,
        cache: Path | None = None,
    ) -> None:
        """Creates a distillation; nothing is translated yet.

        Args:
            teacher: a model folder.
            decoding: settings of the teacher's AT decoder.

        Raises:
            ModelError: the folder contains no model with an AT decoder.
        """
        self._decoding = decoding
        # The other settings, such as the size of a batch, change the time of decoding but not the text.
        settings = decoding.model_dump(mode="json", include={"beam", "length_penalty", "precision"})
        parts = [_FORMAT, lines_per_shard, model_digest(teaching(teacher)), sources.digest, sources.lines, settings]
        self.key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        """Hash of everything that determines the distilled text."""
        folder = (cache or default_cache()) / "distilled" / self.key
        super().__init__(teacher, sources, folder, "targets.gz", lines_per_shard)

    @property
    def targets(self) -> Path:
        """Path of the distilled text; it exists once the text is complete."""
        return self.result

    def lines_for(self, model: Model, items: list[str]) -> list[str]:
        """Returns the teacher's translations of a shard."""
        return [line.text for line in model.translate(items, self._decoding, "at")]
