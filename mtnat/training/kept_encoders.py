"""The encoders that a run keeps while it trains, for an analysis over training."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch

from mtnat.errors import ModelError
from mtnat.files import whole_file
from mtnat.formats import CHECKPOINT_FORMAT, check_entries, format_entries
from mtnat.model.translator import Translator
from mtnat.training.model import Model
from mtnat.training.saved import read_saved

ENCODERS = "encoders"
"""Folder of the kept encoders in a run's folder."""
_BRANCHES = "branches."


class KeptEncoders:
    """A folder of ``step-NNNNNNNN.pt`` files with the weights of an encoder and of the embeddings, but of no decoder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """Returns the steps after which an encoder was kept, ascending."""
        return sorted(int(path.stem.removeprefix("step-")) for path in self.folder.glob("step-*.pt"))

    def write(self, step: int, translator: Translator) -> None:
        """Writes the encoder after a step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: weight.detach().cpu() for name, weight in translator.state_dict().items() if not name.startswith(_BRANCHES)
        }
        with whole_file(self._path(step)) as file:
            torch.save({**format_entries(CHECKPOINT_FORMAT), "weights": weights}, file)

    def read(self, step: int, model: Model) -> Model:
        """Returns a copy of a model of the same run with the encoder after a step. Its decoders are those of the model.

        Raises:
            ModelError: the file is missing or damaged, or of another version or model.
        """
        path = self._path(step)
        state = read_saved(path, "remove it to leave this step out of the analysis")
        check_entries(state, path, CHECKPOINT_FORMAT, ModelError)
        translator = deepcopy(model.translator)
        try:
            missing, unexpected = translator.load_state_dict(state["weights"], strict=False)
            fits = not unexpected and all(name.startswith(_BRANCHES) for name in missing)
        except (LookupError, RuntimeError, TypeError):
            fits = False
        if not fits:
            raise ModelError(f"{path}: is no encoder of this run's model; remove it to leave its step out of the analysis.")
        return replace(model, translator=translator)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.pt"
