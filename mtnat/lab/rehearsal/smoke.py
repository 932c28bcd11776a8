"""`--smoke`: a study reduced to about a minute, to test that it runs before it is started on expensive machines."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mtnat.config import Record, build, leaf_types, replace
from mtnat.data.corpus import data_root, read_lines
from mtnat.experiment import Experiment
from mtnat.files import is_compressed
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.outputs.runs import Result
from mtnat.lab.study.analysing import Analysis
from mtnat.lab.study.record import SELECTED, WRITERS, Settings, Study
from mtnat.lab.study.searching import METRICS, Budget
from mtnat.lab.study.space import leaves

TRAIN_LINES, HELD_OUT_LINES = 300, 8
"""Number of lines that are taken from the beginning of each file of a corpus."""
PIECES, PIECES_BESIDE_CHARACTERS = 300, 200
"""Size of the vocabulary: for the embedded corpus; for files, in addition to every character of the text."""
STEPS, TRIALS, SEEDS = 8, 2, 2
SENTENCES = 300
"""Number of sentences on which encoders are analysed. With fewer, some probing tasks have too few sentences of a label."""
_LINES = {
    "data.train": TRAIN_LINES,
    "data.valid": HELD_OUT_LINES,
    "data.test": HELD_OUT_LINES,
    **dict.fromkeys((*WRITERS.values(), SELECTED), TRAIN_LINES),
}
_WHOLE = "training.valid_sentences"
"""The setting for which 0 means all, and is larger than any number."""
_TYPES = leaf_types(Experiment)
Visit = Callable[[str, Any], Any]
"""A function of a leaf's path and value that returns its new value."""


def smoke(study: Study, text: Path, pieces: int = PIECES) -> Study:
    """Returns the study with everything reduced that costs time, and nothing else changed.

    Different values of a setting stay different and in the same order, so that baselines, columns and proposals keep their
    relations to each other.

    Args:
        text: the folder of the shortened files; see `write_text`.
        pieces: size of the vocabulary.
    """
    cut = _cuts(study, text, pieces)
    experiment = replace(study.experiment, _changed(study.experiment, cut))
    trials = min(study.proposals or TRIALS, TRIALS) if study.search else 0
    steps = experiment.training.steps
    text_models = {
        name: part.model_copy(update={"settings": part.settings and _over(part.settings, cut), "beam": min(part.beam, 2)})
        for name in WRITERS
        if (part := getattr(study, name))
    }
    return study.model_copy(
        update={
            "experiment": experiment,
            "columns": {name: _over(settings, cut) for name, settings in study.columns.items()},
            **text_models,
            "baselines": {name: _over(settings, cut) for name, settings in study.baselines.items()},
            "search": {path: _search(path, search, cut) for path, search in study.search.items()},
            "trials": trials,
            "sampler": study.sampler.model_copy(update={"startup_trials": 1}),
            "pruner": study.pruner and study.pruner.model_copy(update={"first_step": 1, "startup_trials": 1}),
            "horizon": study.horizon and study.horizon.model_copy(update={"steps": _rungs(study.horizon.steps, steps)}),
            "budget": Budget(),
            "analysis": study.analysis and _small(study.analysis, steps),
            "warm_start": (),
            "confirm": study.confirm
            and study.confirm.model_copy(
                update={"top": min(study.confirm.top, trials), "seeds": study.confirm.seeds[:SEEDS], "looks": ()}
            ),
        }
    )


def _small(analysis: Analysis, steps: int) -> Analysis:
    """Returns the analysis of a study whose runs have this number of steps."""
    similarity, probing = analysis.similarity, analysis.probing
    return analysis.model_copy(
        update={
            "every": analysis.every and max(1, steps // 2),
            "similarity": similarity and similarity.model_copy(update={"sentences": min(similarity.sentences, SENTENCES)}),
            "probing": probing and probing.model_copy(update={"sentences": min(probing.sentences, SENTENCES), "epochs": 1}),
        }
    )


def write_text(study: Study, text: Path) -> int:
    """Writes the first lines of every file that the study names, and returns the size of their vocabulary.

    Raises:
        DataError: a file cannot be read.
    """
    text.mkdir(parents=True, exist_ok=True)
    characters: set[str] = set()

    def write(path: str, value: Any) -> Any:
        for name in _names(path, value):
            lines = list(islice(read_lines(data_root() / name), _LINES[path]))
            _place(text, path, name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            characters.update(*lines)
        return value

    _visit(study, write)
    return len(characters) + PIECES_BESIDE_CHARACTERS if characters else PIECES


def failures(study: Study, folder: StudyFolder) -> list[str]:
    """Returns each run without a score, with the reason."""

    def reason(result: Result) -> str | None:
        missing = [name for name in study.objectives if getattr(result, METRICS[name].field) is None]
        return result.failed or (f"has no {', '.join(missing)}" if missing and result.pruned is None else None)

    columns = [folder.column(name) for name in study.columns] or [folder]
    return [
        f"{column.name}, {result.run}: {why}"
        for column in columns
        for result in column.results().values()
        if (why := reason(result))
    ]


def _cuts(study: Study, text: Path, pieces: int) -> Visit:
    """Returns the function that reduces the values of each leaf."""
    found: dict[str, set[Any]] = {}

    def note(path: str, value: Any) -> Any:
        if isinstance(value, int):
            found.setdefault(path, set()).add(math.inf if path == _WHOLE and value == 0 else value)
        return value

    _visit(study, note)
    levels = {path: make(found[path]) for path, make in _levels(study, found, pieces).items() if path in found}

    def cut(path: str, value: Any) -> Any:
        if path in _LINES:
            names = [str(_place(text, path, name)) for name in _names(path, value)]
            return names if isinstance(value, list) else (names[0] if names else value)
        if path == "training.compile":
            return False  # compilation takes longer than everything else
        if isinstance(value, int) and path in levels:
            return levels[path][math.inf if path == _WHOLE and value == 0 else value]
        return value

    return cut


def _levels(study: Study, found: Mapping[str, set[Any]], pieces: int) -> dict[str, Callable[[Iterable[Any]], dict[Any, int]]]:
    """Returns how the numbers of each leaf are reduced.

    With a smaller vocabulary, sentences have more pieces. `data.max_length`, and all settings that depend on it, therefore have
    the same values in every study.
    """
    share = math.lcm(*range(study.resources.least_workers, study.resources.most_workers + 1))
    heads = _capped(found["model.heads"], 2, lambda last: 2 * last)
    unit = max(16, 2 * max(heads.values()))  # a width must be divisible by the number of heads
    warmups = len(found["training.warmup_steps"])
    steps = max(STEPS + 2 * (warmups - 1), len(study.horizon.steps) if study.horizon else 0)
    caps = {
        "data.corpus_size": TRAIN_LINES,
        "model.encoder_layers": 1,
        "model.decoder_layers": 1,
        "training.steps": steps,
        "training.warmup_steps": 2,
        "training.log_every": 2,
        "training.validate_every": 4,
        "training.valid_sentences": HELD_OUT_LINES,
        "training.keep_checkpoints": 2,
        "decoding.iterations": 2,
        "decoding.length_candidates": 2,
        "decoding.beam": 2,
    }
    return {
        **{path: partial(_capped, cap=cap, following=lambda last: last + 1) for path, cap in caps.items()},
        "data.vocabulary_size": lambda sizes: _capped(sizes, pieces, lambda last: last + 8),
        "data.max_length": lambda lengths: _ladder(lengths, 256, 1),
        "model.max_positions": lambda lengths: _ladder(lengths, 320, 1),
        "model.heads": lambda _: heads,
        "model.width": lambda widths: _ladder(widths, 2 * unit, unit),
        "model.feed_forward": lambda widths: _capped(widths, 32, lambda last: last + 8),
        "training.max_tokens_per_batch": lambda sizes: _ladder(sizes, 512, 16),
        "training.batches_per_step": lambda numbers: _ladder(numbers, share, share),
    }


def _capped(values: Iterable[Any], cap: int, following: Callable[[int], int]) -> dict[Any, int]:
    """Returns the smaller of each number and the cap; different numbers stay different and in the same order."""
    found: dict[Any, int] = {}
    last = 0
    for value in sorted(values):
        last = value if value <= cap else cap if last < cap else following(last)
        found[value] = last
    return found


def _ladder(values: Iterable[Any], first: int, step: int) -> dict[Any, int]:
    """Replaces numbers by equally spaced ones in the same order."""
    return {value: first + step * place for place, value in enumerate(sorted(values))}


def _visit(study: Study, visit: Visit) -> None:
    """Calls ``visit`` with every value that a study sets."""
    _changed(study.experiment, visit)
    text_models = [part.settings or {} for name in WRITERS if (part := getattr(study, name))]
    for settings in (*study.columns.values(), *study.baselines.values(), *text_models):
        _over(settings, visit)
    for path, search in study.search.items():
        _search(path, search, visit)


def _changed(experiment: Experiment, visit: Visit) -> Settings:
    """Returns the leaves of an experiment that a visit changes."""
    # A decoding that is not set stays so, because it follows the system, which differs between trials.
    is_default = "decoding" not in experiment.model_fields_set
    given = {path: value for path, value in leaves(experiment).items() if not (is_default and path.startswith("decoding."))}
    visited = {path: (value, visit(path, value)) for path, value in given.items()}
    return {path: after for path, (before, after) in visited.items() if after != before}


def _over(settings: Settings, visit: Visit) -> Settings:
    return {path: _value(path, value, visit) for path, value in settings.items()}


def _value(path: str, value: Any, visit: Visit) -> Any:
    """Returns the visited value of a leaf; a value for a whole part of the experiment is filled with its defaults first."""
    for record in _TYPES[path]:
        if isinstance(record, type) and issubclass(record, Record):
            whole = build(record, value, path).model_dump(mode="json")
            return {name: _value(f"{path}.{name}", inner, visit) for name, inner in whole.items()}
    return visit(path, value)


def _search(path: str, search: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    """Returns the visited search of a leaf."""
    found = dict(search)
    if when := search.get("when"):
        found["when"] = {
            other: [_value(other, value, visit) for value in (values if isinstance(values, list) else [values])]
            for other, values in when.items()
        }
    if "choice" in search:
        choices = [_value(path, choice, visit) for choice in search["choice"]]
        found["choice"] = [choice for place, choice in enumerate(choices) if choice not in choices[:place]]
    elif "int" in search:
        low, high = (visit(path, bound) for bound in search["int"])
        if [low, high] != search["int"]:  # only the two new bounds are known to be valid
            found = {name: option for name, option in found.items() if name != "log"} | {"int": [low, high], "step": high - low}
    return found


def _rungs(steps: tuple[int, ...], last: int) -> tuple[int, ...]:
    """Returns the rungs with the same shares of fewer steps, at least one step apart."""
    found: list[int] = []
    for place, rung in enumerate(steps, 1):
        least, most = (found[-1] + 1 if found else 1), last - (len(steps) - place)
        found.append(min(most, max(least, round(rung * last / steps[-1]))))
    return tuple(found)


def _names(path: str, value: Any) -> list[str]:
    """Returns the files that a value names."""
    if path not in _LINES or value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _place(text: Path, path: str, name: str) -> Path:
    """Returns the path of a shortened file; its name keeps the suffix with the language."""
    key = hashlib.sha256(f"{name} {_LINES[path]}".encode()).hexdigest()[:8]
    plain = Path(name).stem if is_compressed(Path(name)) else Path(name).name
    return text.absolute() / f"{key}-{plain}"
