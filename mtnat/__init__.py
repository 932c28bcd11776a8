"""A study platform for non-autoregressive machine translation.

The names below are the Python interface. Importing this package is cheap: PyTorch and the other libraries are imported when a
name that needs them is used for the first time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtnat.api.models import build_experiment, read_experiment, train
    from mtnat.api.results import StudyResults, open_study
    from mtnat.config import replace
    from mtnat.data import prepare
    from mtnat.errors import MtnatError, UserError
    from mtnat.evaluation import bleu, chrf, hierarchical_bootstrap, paired_bootstrap, ter
    from mtnat.experiment import Experiment
    from mtnat.lab.tracking.models import open_model
    from mtnat.systems import System
    from mtnat.training import Model
    from mtnat.training.evaluation import evaluate

__version__ = "0.2.0"

__all__ = [
    "Experiment",
    "Model",
    "MtnatError",
    "StudyResults",
    "System",
    "UserError",
    "__version__",
    "bleu",
    "build_experiment",
    "chrf",
    "evaluate",
    "hierarchical_bootstrap",
    "open_model",
    "open_study",
    "paired_bootstrap",
    "prepare",
    "read_experiment",
    "replace",
    "ter",
    "train",
]

_MODULES = {
    "mtnat.api.models": ("build_experiment", "read_experiment", "train"),
    "mtnat.api.results": ("StudyResults", "open_study"),
    "mtnat.config": ("replace",),
    "mtnat.data": ("prepare",),
    "mtnat.errors": ("MtnatError", "UserError"),
    "mtnat.evaluation": ("bleu", "chrf", "hierarchical_bootstrap", "paired_bootstrap", "ter"),
    "mtnat.experiment": ("Experiment",),
    "mtnat.lab.tracking.models": ("open_model",),
    "mtnat.systems": ("System",),
    "mtnat.training": ("Model",),
    "mtnat.training.evaluation": ("evaluate",),
}
"""The names of the interface by the module that defines them."""
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a name of the interface when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mtnat' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
