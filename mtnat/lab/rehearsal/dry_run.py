"""`--dry-run`: the trials and runs of a study and their estimated time, before anything starts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
import torch
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mtnat.config import replace, to_yaml
from mtnat.data.dataset import default_cache
from mtnat.errors import ResourceError
from mtnat.experiment import Experiment
from mtnat.lab.cluster.connection import ray_cluster
from mtnat.lab.cluster.room import machines
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.outputs.runs import Trial
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.optuna_proposer import make_proposer
from mtnat.lab.plan.samplers import startup_trials
from mtnat.lab.plan.warm_start import WarmStart, take_over
from mtnat.lab.rehearsal.estimate import MEASURED_STEPS, Pace, PaceOf, Phase, kind_of, phases, training_seconds, wall_seconds
from mtnat.lab.rehearsal.pace import measure
from mtnat.lab.rehearsal.text_steps import stage_facts, text_facts, text_reservations, text_steps
from mtnat.lab.results.words import duration
from mtnat.lab.study.options import Options
from mtnat.lab.study.record import Settings, Study
from mtnat.lab.study.resources import Machine, Resources, cores, resource_problems, runs_at_once, workers_at_once
from mtnat.training import training_sources

MOST_PROPOSALS = 5
"""Number of proposals that are shown."""


@dataclass(frozen=True)
class _Place:
    """The machines for the study's runs."""

    resources: Resources
    machines: Sequence[Machine]
    is_local: bool

    @property
    def runs(self) -> int:
        """Number of runs at the same time."""
        return runs_at_once(self.resources, self.machines)

    @property
    def all_workers(self) -> int:
        """Number of workers of all runs together, and of a teacher's translation."""
        return workers_at_once(self.resources, self.machines)

    @property
    def workers(self) -> int:
        """Number of workers of one run."""
        return min(self.resources.most_workers, max(self.resources.least_workers, self.all_workers))

    def measure(self, kinds: list[Experiment]) -> list[Pace]:
        """Returns the pace of each kind of system with the resources of one worker."""
        if self.is_local:
            return measure(kinds, self.resources, self.workers)
        task = ray.remote(num_cpus=self.resources.cpus_per_worker, num_gpus=self.resources.gpus_per_worker)(measure)
        paces: list[Pace] = ray.get(task.remote(kinds, self.resources, self.workers))
        return paces


def dry_run(study: Study, options: Options, console: Console) -> None:
    """Shows a study's trials, runs and estimated time. It keeps nothing but prepared corpora in the cache.

    Raises:
        UserError: the cluster has no room for a run, or a corpus cannot be prepared.
    """
    console.print(study.question, markup=False, highlight=False, soft_wrap=True)
    outsets = {name: outset(part) for name, part in study.parts.items()}
    with _place(study, options) as place:
        found = [kind for name, part in study.parts.items() for kind in _kinds(part, outsets[name].proposals)]
        kinds = [kind for place, kind in enumerate(found) if kind not in found[:place]]
        console.print(f"Measuring {len(kinds)} {_plural('kind', len(kinds))} of systems …", highlight=False)
        paces = place.measure(kinds)

    def pace(experiment: Experiment) -> Pace:
        return paces[kinds.index(kind_of(experiment))]

    name, part = next(iter(study.parts.items()))
    for title, trials in _titled(part, outsets[name].proposals).items():
        console.print()
        console.print(_trials(title, trials, pace))
    taken = [f"warm start: {sentence}" for known in outsets.values() for sentence in known.taken.sentences]
    _say(console, ["", *taken, *_facts(study, place), ""])
    models: set[str] = set()
    plans = {name: _plan(part, outsets[name], pace, place, models) for name, part in study.parts.items()}
    console.print(_runs(plans, study.resources.gpus_per_worker > 0))
    wall = sum(wall_seconds(plan, place.runs) for plan in plans.values())
    gpu_hours = sum(phase.gpu_seconds for plan in plans.values() for phase in plan) / 3600
    total = f"About {duration(wall)}" + (f" and {gpu_hours:.2g} GPU-hours" if gpu_hours else "")
    _say(console, ["", f"{total} in all. {' '.join(_reservations(study))}"])


@dataclass(frozen=True)
class Outset:
    """What is known of a study, or of a column, before it starts."""

    proposals: tuple[Trial, ...]
    """The first proposals."""
    taken: WarmStart


def outset(study: Study) -> Outset:
    """Returns the trials that the study takes over, and the proposals that do not depend on results. They are made by the
    study's own sampler in a temporary folder.

    If trials run one at a time, they are exactly the study's first proposals. Otherwise, a baseline in the search space may end
    before or after a proposal is drawn, and can change it.
    """
    with TemporaryDirectory(prefix="mtnat-") as place:
        folder = StudyFolder(Path(place))
        taken = take_over(study, folder)
        proposer = make_proposer(study, folder.journal)
        agenda = Agenda(study, proposer, folder.results(), inherited=taken.trials)
        before = list(agenda.trials.values())
        scores = [0.0] * len(study.objectives)
        told = 0
        if not study.horizon:
            told = sum(proposer.tell_known(trial.name, trial.experiment, study.experiment, scores) for trial in before)
        wanted = min(MOST_PROPOSALS, study.proposals or MOST_PROPOSALS) if study.search else 0
        if study.sampler.kind in ("tpe", "cmaes", "gp"):
            wanted = min(wanted, max(1, startup_trials(study.sampler, study.proposals) - told))
        proposed: list[Trial] = []
        while len(proposed) < wanted and (run := agenda.next()):
            if agenda.trials[run.trial] not in before:
                proposed.append(agenda.trials[run.trial])
        return Outset(tuple(proposed), taken)


@contextmanager
def _place(study: Study, options: Options) -> Iterator[_Place]:
    if options.address is None:
        yield _Place(study.resources, [Machine(cores(), torch.cuda.device_count())], is_local=True)
        return
    with ray_cluster(options, study.resources):
        if problems := list(resource_problems(study.resources, machines())):
            raise ResourceError(problems)
        yield _Place(study.resources, machines(), is_local=False)


def _kinds(part: Study, drawn: Sequence[Trial]) -> Iterator[Experiment]:
    """Yields the kinds of systems among the trials of a column and the models that write its training text."""
    for settings in part.baselines.values():
        yield kind_of(replace(part.experiment, settings))
    for trial in drawn:
        yield kind_of(trial.experiment)
    for step in text_steps(part):
        yield kind_of(step.experiment)


def _plan(part: Study, known: Outset, pace: PaceOf, place: _Place, models: set[str]) -> list[Phase]:
    """Returns the phases of a column or of the study.

    Args:
        models: experiments of the models of earlier columns, which write for this one too; those of this one are added.
    """
    proposals, inherited = [trial.experiment for trial in known.proposals], len(known.taken.trials)
    trained = set(known.taken.baselines)
    gpus = part.resources.gpus_per_worker
    stage: list[Phase] = []
    for step in text_steps(part):
        own = pace(step.experiment)
        if step.trial:
            trained.add(step.trial.name)
            experiment = step.experiment.model_dump_json()
            if experiment in models and step.trial.name not in part.baselines:
                continue
            if step.experiment.data.selected is None:  # each column makes its own selection
                models.add(experiment)
            work = Phase(name=step.name, runs=1, seconds=(training_seconds(step.experiment, own),), gpus=place.workers * gpus)
        else:
            workers_seconds = own.sentence * place.workers * training_sources(part.experiment.data).lines * step.share
            together = (workers_seconds / place.all_workers,)
            work = Phase(name=step.name, runs=0, seconds=together, gpus=place.all_workers * gpus)
        stage.append(work._replace(waits=bool(stage)))
    students = phases(part, proposals, pace, place.runs, trained=trained, inherited=inherited)
    return [*stage, *(phase._replace(waits=bool(stage)) for phase in students[:1]), *students[1:]]


def _trials(title: str, trials: Sequence[Trial], pace: PaceOf) -> RichTable:
    table = RichTable(pad_edge=False, box=None)
    table.add_column(title)
    table.add_column("differs in", overflow="fold")
    for name in ("parameters", "s/step", "a run"):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in trials:
        kind = pace(trial.experiment)
        table.add_row(
            Text(trial.name),
            Text(_shown(trial.settings)),
            f"{trial.experiment.parameters:,}",
            f"{kind.step:.3g}",
            duration(training_seconds(trial.experiment, kind)),
        )
    return table


def _titled(part: Study, drawn: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Returns the trials of each table by its title; empty tables are left out."""
    baselines = [
        Trial(name, "baseline", settings, replace(part.experiment, settings)) for name, settings in part.baselines.items()
    ]
    models: dict[str, list[Trial]] = {}
    for step in text_steps(part):
        if step.trial and step.trial.name not in part.baselines:
            models.setdefault(step.part, []).append(step.trial)
    found = {**models, "baselines": baselines, "first proposals": list(drawn)}
    return {title: trials for title, trials in found.items() if trials}


def _facts(study: Study, place: _Place) -> Iterator[str]:
    """Yields lines on columns, the models that write training text, resources and machines."""
    first, part = next(iter(study.parts.items()))
    if study.columns:
        yield f"columns       {', '.join(study.columns)}, one after the other; the trials above are those of {first}"
    yield from text_facts(study)
    yield from stage_facts(part)
    resources = study.resources
    each = f"{place.workers} × " if place.workers > 1 else ""
    gpus = f", {resources.gpus_per_worker:g} GPUs" if resources.gpus_per_worker else ""
    yield f"a run takes   {each}{resources.cpus_per_worker} {_plural('core', resources.cpus_per_worker)}{gpus}"
    where = "this machine" if place.is_local else "the cluster"
    cpus, gpus = (sum(each) for each in zip(*place.machines, strict=True))
    has = f"{cpus:g} cores, {gpus:g} GPUs"
    yield f"side by side  {place.runs} {_plural('run', place.runs)} on {where} ({has})"


def _runs(plans: Mapping[str, Sequence[Phase]], on_gpus: bool) -> RichTable:
    """Returns a table with the number of runs of each phase over all columns."""
    table = RichTable(pad_edge=False, box=None)
    table.add_column("phase")
    for name in ("runs", "longest", *(["GPU-hours"] if on_gpus else [])):
        table.add_column(name, justify="right", no_wrap=True)
    by_name: dict[str, list[Phase]] = {}
    for plan in plans.values():
        for phase in plan:
            by_name.setdefault(phase.name, []).append(phase)
    for name, same in by_name.items():
        runs, longest = sum(phase.runs for phase in same), max(max(phase.seconds) for phase in same)
        hours = [f"{sum(phase.gpu_seconds for phase in same) / 3600:.2g}"] if on_gpus else []
        table.add_row(Text(name), str(runs) if runs else "", duration(longest), *hours)
    table.add_row("in all", str(sum(phase.runs for plan in plans.values() for phase in plan)))
    return table


def _reservations(study: Study) -> Iterator[str]:
    """Yields sentences on how the estimate is made, and what it leaves out."""
    yield (
        f"An estimate, from {MEASURED_STEPS} steps and some translations of each kind of system, measured alone. "
        "It does not include the start of Ray, MLflow and the runs, nor the slowdown of runs that share a machine."
    )
    if study.resources.most_workers > 1:
        yield "Nor does it include the communication between the workers of a run."
    if study.pruner or study.experiment.training.patience:
        yield "Runs that end early make the study shorter."
    yield from text_reservations(study)
    if study.analysis:
        yield "The analysis of the encoders is not included."
    if not study.proposals and study.search:
        yield "The number of proposals depends on the budget."
    yield f"Nothing was started, and nothing was kept except prepared corpora in {default_cache()}, which the study will use."


def _shown(settings: Settings) -> str:
    """Returns settings in one line, as in a study file."""
    if not settings:
        return "nothing"
    return to_yaml(settings, one_line=True).strip().removeprefix("{").removesuffix("}")


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def _say(console: Console, lines: Iterable[str]) -> None:
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
