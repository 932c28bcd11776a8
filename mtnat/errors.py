"""Every error this project raises on purpose.

MtnatError
├── UserError (also a ValueError)   something a person wrote or brought; the command line prints it and exits with 2
│   ├── ConfigError                 a YAML file or a setting
│   ├── DataError                   a corpus, a vocabulary or a token store
│   ├── ModelError                  a model folder or a checkpoint
│   ├── ResourceError               more workers, memory or rights than this machine has
│   │   └── OutOfMemoryError        an update needs more memory than there is; with more micro-batches it may not
│   └── StudyError                  a study that is already finished, running or different
├── DivergedError                   training left the finite numbers
└── SmokeError                      a study that was tried out does not run
"""

from collections.abc import Iterable


class MtnatError(Exception):
    """Root of the tree above."""


class UserError(MtnatError, ValueError):
    """Something a person can mend: every problem found, each one sentence saying where, what and what to do."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ConfigError(UserError):
    """A YAML file or a setting in it is wrong."""


class DataError(UserError):
    """A corpus, a vocabulary or a token store is missing or unusable."""


class ModelError(UserError):
    """A model folder or a checkpoint is missing or unusable."""


class ResourceError(UserError):
    """The machine or the cluster lacks what was asked for."""


class OutOfMemoryError(ResourceError):
    """An update needs more memory than there is."""


class StudyError(UserError):
    """The study is already finished, running, or not the one its folder was started with."""


class DivergedError(MtnatError):
    """The loss or its gradient left the finite numbers, so the run cannot go on."""


class SmokeError(MtnatError):
    """A study that was cut down and tried out does not run."""
