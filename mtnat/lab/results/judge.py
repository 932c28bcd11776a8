"""Significance tests and tokenized BLEU of the runs' translations of the test set."""

from collections.abc import Sequence
from functools import cached_property

from mtnat.data import prepare
from mtnat.errors import UserError
from mtnat.evaluation import Comparison, Score, hierarchical_bootstrap, paired_bootstrap
from mtnat.evaluation.tokenized import check_tokenizer, tokenized_bleu
from mtnat.lab.outputs.folder import StudyFolder, read_hypotheses
from mtnat.lab.outputs.runs import Run
from mtnat.lab.study.record import Study


class RunJudge:
    """Reads the runs' translations from the study's folder."""

    def __init__(self, study: Study, folder: StudyFolder) -> None:
        self._data, self._folder = study.experiment.data, folder

    def compare(self, run: Run, other: Run) -> float:
        """Returns the p-value of the difference between two runs: paired bootstrap over sentences, as in Hao et al. 2021,
        A.4."""
        system, baseline = (read_hypotheses(self._folder.run(one.id)) for one in (run, other))
        return paired_bootstrap(system, baseline, self._references).p_value

    def compare_over_seeds(self, runs: Sequence[Run], others: Sequence[Run]) -> Comparison:
        """Returns the difference between two systems with several seeds each, over seeds and sentences together."""
        systems, baselines = ([read_hypotheses(self._folder.run(run.id)) for run in side] for side in (runs, others))
        return hierarchical_bootstrap(systems, baselines, self._references)

    def tokenized(self, run: Run) -> Score | None:
        """Returns tokenized BLEU, as papers report it; None if the target language is not known or has another tokenizer."""
        if self._language is None:
            return None
        return tokenized_bleu(read_hypotheses(self._folder.run(run.id)), self._references, self._language)

    @cached_property
    def _language(self) -> str | None:
        if self._data.languages is None:
            return None
        try:
            check_tokenizer(self._data.languages[1])
        except UserError:
            return None
        return self._data.languages[1]

    @cached_property
    def _references(self) -> tuple[str, ...]:
        return prepare(self._data).test.references
