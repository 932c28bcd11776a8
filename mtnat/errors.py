"""The exceptions of this project.

MtnatError
├── UserError (also a ValueError)   wrong input that the user can correct; the command line prints it and exits with 2
│   ├── ConfigError                 a YAML file or a setting
│   ├── DataError                   a corpus, a vocabulary or a token store
│   ├── ModelError                  a model folder or a checkpoint
│   ├── ResourceError               too few GPUs, too little memory or missing permissions
│   │   ├── OutOfMemoryError        an update needs more memory than there is; more micro-batches may help
│   │   └── DiskFullError           there is no room for a file
│   └── StudyError                  a study that is already finished, running or different
├── DivergedError                   the loss or a gradient is not finite
├── NoAnswerError                   no run of a study ended well
└── SmokeError                      the smoke test of a study failed
"""

from collections.abc import Iterable


class MtnatError(Exception):
    """Base class of the exceptions above."""


class UserError(MtnatError, ValueError):
    """Wrong input that the user can correct.

    `problems` holds all problems that were found. Each is one sentence that states where it is, what is wrong, and what to do.
    """

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
    """The machine or the cluster lacks a requested resource."""


class OutOfMemoryError(ResourceError):
    """An update needs more memory than the device has."""


class DiskFullError(ResourceError):
    """There is no room for a file. What was written before is whole."""


class StudyError(UserError):
    """The study is already finished or running, or its folder belongs to another study."""


class DivergedError(MtnatError):
    """The loss or a gradient is not finite, so the run cannot continue."""


class NoAnswerError(MtnatError):
    """A study has ended without an answer, because none of its runs ended well."""


class SmokeError(MtnatError):
    """The smoke test of a study, a short trial run, failed."""
