"""Reads the options that name a test set: a split of the model's experiment, two files, or a test set of sacreBLEU."""

import argparse
import re
from pathlib import Path

from mtnat.cli.files import lines_of
from mtnat.corpora import check_named_set, named_set_files
from mtnat.data import Split
from mtnat.data.config import languages_of
from mtnat.data.corpus import open_raw_corpus, read_lines
from mtnat.data.grammar import SplitName
from mtnat.errors import DataError, UserError
from mtnat.training import Model

_OTHER_WORDS = ("zh", "ja", "ko")
"""Languages for which sacreBLEU uses another tokenizer than 13a, the tokenizer of all scores here."""


def named_test_set(options: argparse.Namespace, *, languages_alone: bool = False) -> Split | None:
    """Returns the test set that the options name, or None for a split of the model's own experiment.

    Args:
        languages_alone: allow `--languages` without `--test-set`.

    Raises:
        UserError: if the options are incomplete or name several test sets, or the test set cannot be read.
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
            Split(f"{options.source} → {options.reference}", *(tuple(lines_of(option, path)) for option, path in files.items()))
        )
    return _sacrebleu_set(options.test_set, options.languages) if options.test_set else None


def own_test_set(model: Model, split: SplitName) -> Split:
    """Returns a split of the corpus that the model was trained on, without reading the training text.

    Raises:
        DataError: if its files are missing or have different numbers of lines.
    """
    data = model.experiment.data
    corpus = open_raw_corpus(data, cache=Path())  # nothing is cached here: only the training text would be
    pairs = list(corpus.pairs(split))
    return _checked(
        Split(
            f"{data.name_of(split)} ({split})", tuple(source for source, _ in pairs), tuple(reference for _, reference in pairs)
        )
    )


def target_language(options: argparse.Namespace, model: Model) -> str:
    """Returns the language of the references, from `--languages`, the model's experiment, or the names of the files.

    Raises:
        UserError: if none of them states it.
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
        raise UserError("--tokenized: no file name states the target language; give both, such as --languages en-de.")
    return pair[1]


def _checked(split: Split) -> Split:
    if len(split.sources) != len(split.references):
        raise DataError(
            f"{split.name}: both sides must have equally many lines; got {len(split.sources)} and {len(split.references)}; "
            "give files whose lines belong together."
        )
    for side, lines in (("source", split.sources), ("reference", split.references)):
        if not any(line.strip() for line in lines):
            raise DataError(f"{split.name}: the {side} contains no text; give at least one sentence.")
    return split


def _sacrebleu_set(name: str, languages: str) -> Split:
    name_as, languages_as = f"--test-set {name}", f"--languages {languages}"
    check_named_set(name, languages, name_as=name_as, languages_as=languages_as)
    if languages.split("-")[-1] in _OTHER_WORDS:
        raise UserError(
            f"{languages_as}: sacreBLEU uses a special tokenizer for that target, which is not supported here; "
            "translate the set and score it with `sacrebleu`."
        )
    source, references = named_set_files(name, languages, name_as=name_as)
    if len(references) != 1:
        raise DataError(f"{name_as}: has {len(references)} references for {languages}; give a test set with one reference.")
    return _checked(Split(f"{name} {languages}", tuple(read_lines(source)), tuple(read_lines(references[0]))))
