"""Branches that read a frozen model in training."""

from mtnat.errors import ConfigError
from mtnat.model import ModelConfig, TargetDecoder, Translator
from mtnat.systems.at import AtBranch
from mtnat.systems.branch import Branch, branch_of


class TaughtBranch(Branch):
    """A branch whose losses read the states of a frozen translator with an AT decoder, its teacher.

    The teacher runs without gradient and without dropout. It is no submodule of the branch, so that it is neither trained nor
    saved nor exchanged between workers. A model that is only used for translation needs none. `mtnat.training.teacher` loads
    it.
    """

    _teacher: tuple[Translator, ...] = ()

    def problems_of(self, teacher: ModelConfig) -> list[str]:
        """Returns what makes a model unfit as the teacher of this branch; each begins with a setting."""
        return []

    def use_teacher(self, teacher: Translator) -> None:
        """Sets the teacher, and freezes it. It must be on the device of the branch.

        Raises:
            ConfigError: the teacher has no AT decoder, or differs from this branch where it must not.
        """
        problems = self.problems_of(teacher.config)
        if "at" not in teacher.branches:
            problems.append("system.teacher: has no AT decoder; give a model that was trained with one.")
        if problems:
            raise ConfigError(problems)
        self._teacher = (teacher.eval().requires_grad_(requires_grad=False),)

    @property
    def teacher(self) -> Translator:
        """The teacher. It must have been set."""
        [teacher] = self._teacher
        return teacher

    @property
    def teacher_decoder(self) -> TargetDecoder:
        """The teacher's AT decoder."""
        at = branch_of(self.teacher, "at")
        assert isinstance(at, AtBranch)
        return at.decoder
