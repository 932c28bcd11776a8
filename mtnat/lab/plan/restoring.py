"""Proposals that a damaged journal has lost are taken from the folders of their runs."""

from collections.abc import Iterator

from mtnat.config import build, read_yaml
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.files import DAMAGED
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.plan.optuna_proposer import OptunaProposer
from mtnat.lab.study.record import PROPOSAL_NAME, Study, slug
from mtnat.training.model import EXPERIMENT


def restore_proposals(proposer: OptunaProposer, study: Study, folder: StudyFolder) -> Iterator[str]:
    """Adds the lost proposals, and yields a sentence if the journal was damaged."""
    if proposer.damaged_line is None:
        return
    for number in range(1, (study.proposals or len(list(folder.path.glob("runs/*")))) + 1):
        name = PROPOSAL_NAME.format(number)
        file = folder.run(f"{slug(name)}-seed{study.experiment.seed}") / EXPERIMENT
        if name in proposer.known() or not file.exists():
            continue
        try:
            experiment = build(Experiment, read_yaml(file))
        except ConfigError:
            continue
        settings = study.space.recover(experiment, study.experiment)
        if settings is not None:
            proposer.restore(name, settings)
    count = len(proposer.known())
    proposals = "1 proposal" if count == 1 else f"{count} proposals"
    aside = f"{DAMAGED}{folder.journal.name}"
    line = proposer.damaged_line
    yield f"{folder.journal}: line {line} is damaged; it was rebuilt with {proposals}, and the damaged file is kept as {aside}."
