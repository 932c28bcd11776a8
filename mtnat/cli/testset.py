"""What a model is scored on: its experiment's own test set, two files, or one of sacreBLEU's named sets."""

import argparse
import re
from pathlib import Path

from mtnat.corpora import check_named_set, named_set_files
from mtnat.data import Split
from mtnat.data.config import languages_of
from mtnat.data.corpus import open_corpus, read_lines
from mtnat.data.grammar import SplitName
from mtnat.errors import DataError, UserError
from mtnat.training import Model

_OTHER_WORDS = ("zh", "ja", "ko")
"""Languages whose words sacreBLEU cuts with other tokenizers than the 13a of all scores here."""


def add_test_set(parser: argparse.ArgumentParser) -> None:
    """Options that name a test set; without any it is the model's own."""
    parser.add_argument(
        "--split",
        choices=["test", "valid"],
        help="which split of the model's own experiment, where no other set is named (test)",
    )
    parser.add_argument("--source", type=Path, metavar="FILE", help="source text, plain or .gz, one sentence a line")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="its translation, line by line")
    parser.add_argument(
        "--test-set",
        metavar="NAME",
        help="one of sacreBLEU's, such as wmt14/full; fetched into ~/.sacrebleu unless it is there",
    )
    parser.add_argument("--languages", metavar="PAIR", help="of --test-set, such as en-de")


def named_test_set(options: argparse.Namespace, *, languages_alone: bool = False) -> Split | None:
    """The test set that the options name; None is the model's own.

    Args:
        languages_alone: whether `--languages` may also stand without `--test-set`.

    Raises:
        UserError: the options name none or several, or the set cannot be read.
    """
    files = {"--source": options.source, "--reference": options.reference}
    names_set = options.test_set is not None or not languages_alone
    set_and_pair = {"--test-set": options.test_set, "--languages": options.languages if names_set else None}
    ways = ({"--split": options.split}, files, set_and_pair)
    given = [name for way in ways for name, value in way.items() if value is not None]
    if sum(any(name in given for name in way) for way in ways) > 1:
        raise UserError(f"{', '.join(given)}: name more than one test set; give one of --split, --source, --test-set.")
    for way in (files, set_and_pair):
        missing = [name for name in way if name not in given]
        if len(missing) == 1:
            raise UserError(f"{given[0]}: needs {missing[0]} as well; give both.")
    if options.source:
        return _checked(
            Split(f"{options.source} → {options.reference}", *(_lines(option, path) for option, path in files.items()))
        )
    return _sacrebleu_set(options.test_set, options.languages) if options.test_set else None


def own_test_set(model: Model, split: SplitName) -> Split:
    """A split of the corpus that the model was trained on; the training text is not read.

    Raises:
        DataError: its files are missing or do not belong together.
    """
    data = model.experiment.data
    corpus = open_corpus(data, cache=Path())  # where it would remember what it knows of the training text
    pairs = list(corpus.pairs(split))
    return _checked(
        Split(
            f"{data.name_of(split)} ({split})", tuple(source for source, _ in pairs), tuple(reference for _, reference in pairs)
        )
    )


def target_language(options: argparse.Namespace, model: Model) -> str:
    """The language of the references: of `--languages`, of the model's experiment, or of the files that the options name.

    Raises:
        UserError: none of them tells.
    """
    if options.languages:
        source, _, target = options.languages.partition("-")
        if not source or not re.fullmatch("[a-z]{2,3}", target):
            raise UserError(f"--languages {options.languages}: must be a pair of codes, such as en-de.")
        return str(target)
    pair = model.experiment.data.languages
    if not pair and options.source:
        pair = languages_of((options.source.name, options.reference.name))
    if not pair:
        raise UserError("--tokenized: no file's name tells the target language; name both, such as --languages en-de.")
    return pair[1]


def _lines(option: str, path: Path) -> tuple[str, ...]:
    if not path.exists():  # read_lines would speak of $MTNAT_DATA
        raise DataError(f"{option} {path}: no such file; give a text file, plain or .gz.")
    return tuple(read_lines(path))


def _checked(split: Split) -> Split:
    if len(split.sources) != len(split.references):
        raise DataError(
            f"{split.name}: both sides must have equally many lines; got {len(split.sources)} and {len(split.references)}; "
            "give files whose lines belong together."
        )
    for side, lines in (("source", split.sources), ("reference", split.references)):
        if not any(line.strip() for line in lines):
            raise DataError(f"{split.name}: the {side} holds no text; give at least one sentence.")
    return split


def _sacrebleu_set(name: str, languages: str) -> Split:
    name_as, languages_as = f"--test-set {name}", f"--languages {languages}"
    check_named_set(name, languages, name_as=name_as, languages_as=languages_as)
    if languages.split("-")[-1] in _OTHER_WORDS:
        raise UserError(
            f"{languages_as}: sacreBLEU cuts that target's words with a tokenizer of its own, which is not used here; "
            "translate the set and score it with `sacrebleu`."
        )
    source, references = named_set_files(name, languages, name_as=name_as)
    if len(references) != 1:
        raise DataError(f"{name_as}: has {len(references)} references for {languages}; name a set with one.")
    return _checked(Split(f"{name} {languages}", tuple(read_lines(source)), tuple(read_lines(references[0]))))
