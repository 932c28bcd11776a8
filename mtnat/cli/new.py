"""``mtnat new``: writes a study file to begin with."""

import argparse
import shlex
from pathlib import Path

import torch

import mtnat.data
from mtnat.config import build
from mtnat.corpora import files_of, language_pair
from mtnat.data.config import DataConfig
from mtnat.data.corpus import data_root, open_raw_corpus
from mtnat.data.dataset import default_cache
from mtnat.errors import DataError, UserError
from mtnat.files import write_whole
from mtnat.lab.study.draft import Size, draft, size_for

_EMBEDDED = {"corpus": "grammar-en-de", "corpus_size": 20_000, "max_length": 64}
_SPLITS = ("train", "valid", "test")
_LEAST_PIECES, _MOST_PIECES = 64, 64_000


def run(options: argparse.Namespace) -> int:
    """Writes the file."""
    file = options.output or Path(f"{options.name.removesuffix('.yaml')}.yaml")
    if not file.stem or file.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file}: must be the name of a .yaml file; give another name, or --output.")
    if file.exists() and not options.force:
        raise UserError(f"{file}: already exists; give --force to replace it, or another --output.")
    text = _text(options)
    corpus = build(DataConfig, text)
    if problems := open_raw_corpus(corpus, default_cache()).problems():
        raise DataError(problems)
    pairs = open_raw_corpus(corpus, default_cache()).train_size()
    has_gpu = torch.cuda.is_available()
    size = size_for(pairs, has_gpu=has_gpu)
    data = _with_vocabulary(text, size)
    about = options.corpus or (file.stem if options.train else "the embedded corpus")
    command = f"mtnat tune {shlex.quote(str(file))}"
    written = draft(about, data, pairs, size, has_gpu=has_gpu, command=command)
    try:
        write_whole(file, written.encode(errors="replace"))  # a name of a file may be no UTF-8
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror}); give another --output.") from None
    direction = f", {' → '.join(data.languages)}" if data.languages else ""
    print(f"{file}: {about}, {pairs:,} training pairs{direction}")
    print(f"{command} --dry-run    # shows the runs and estimates the time")
    print(f"{command} --smoke      # runs all of it with a few steps, to find errors")
    print(command)
    return 0


def _text(options: argparse.Namespace) -> dict[str, object]:
    """Returns the settings of the corpus that the options name."""
    given = [split for split in _SPLITS if getattr(options, split)]
    if options.corpus and given:
        raise UserError(f"--corpus, --{given[0]}: name the text twice; give one of them.")
    if options.languages and not options.corpus:
        raise UserError("--languages: are those of --corpus; give --corpus, or leave the option out.")
    if options.corpus:
        found = files_of(options.corpus, language_pair(options.languages) if options.languages else None)
        return {split: list(getattr(found, split)) for split in _SPLITS}
    if not given:
        return dict(_EMBEDDED)
    if missing := [f"--{split}" for split in _SPLITS if split not in given]:
        raise UserError(
            f"--{given[0]}: needs {' and '.join(missing)} as well; `mtnat data split` divides one text into all three."
        )
    return {split: [_in_data_root(path, split) for path in getattr(options, split)] for split in _SPLITS}


def _in_data_root(path: Path, split: str) -> str:
    """Returns a path as a study file names it: relative to $MTNAT_DATA if it is inside, otherwise absolute."""
    if not path.exists():
        if (data_root() / path).exists():
            return str(path)
        raise DataError(f"--{split} {path}: no such file; give a text file, plain or .gz, one sentence a line.")
    whole, root = path.resolve(), data_root().resolve()
    return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)


def _with_vocabulary(text: dict[str, object], size: Size) -> DataConfig:
    """Returns the corpus with a vocabulary that its text supports: as the size demands, or else smaller, or else larger.

    Raises:
        DataError: the text supports none of these.
    """
    smaller = [size.vocabulary_size // 2**number for number in range(6)]
    larger = [size.vocabulary_size * 2**number for number in range(1, 5)]
    problems: list[str] = []
    for pieces in [*smaller, *larger]:
        if _LEAST_PIECES <= pieces <= _MOST_PIECES:
            data = build(DataConfig, {**text, "vocabulary_size": pieces})
            found = mtnat.data.check(data)
            if not found:
                return data
            problems = problems or found
    raise DataError(problems)
