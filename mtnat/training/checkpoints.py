"""The checkpoints of one run, written atomically."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtnat.errors import ModelError
from mtnat.files import whole_file, write_whole
from mtnat.formats import CHECKPOINT_FORMAT, check_entries, format_entries
from mtnat.training.saved import read_saved


class Checkpoints:
    """A folder of ``step-NNNNNNNN.pt`` files, each with a text file of the validation translations of its step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, ascending."""
        return sorted(int(path.stem.removeprefix("step-")) for path in self.folder.glob("step-*.pt"))

    def write(self, step: int, state: Mapping[str, Any], translations: Iterable[str], kept: Set[int]) -> None:
        """Writes one checkpoint, then removes the checkpoints of all steps that are not in `kept`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.translations_path(step), "".join(f"{line}\n" for line in translations).encode())
        with whole_file(self.path(step)) as file:
            torch.save({**format_entries(CHECKPOINT_FORMAT), **state}, file)
        for old in set(self.steps()) - kept:
            self.path(old).unlink()
            self.translations_path(old).unlink(missing_ok=True)

    def read(self, step: int) -> dict[str, Any]:
        """Reads the checkpoint of a step, on the host.

        Raises:
            ModelError: the file is missing or damaged, or a newer version of mtnat wrote it.
        """
        path = self.path(step)
        state = read_saved(path, "remove it to resume from an earlier checkpoint")
        check_entries(state, path, CHECKPOINT_FORMAT, ModelError)
        return state

    def translations_path(self, step: int) -> Path:
        """Returns the path of the validation translations of a step."""
        return self.folder / f"step-{step:08d}.valid.txt"

    def average(self, steps: Iterable[int]) -> dict[str, Tensor]:
        """Averages the weights of several checkpoints in float64 (Hao et al. 2021, A.1: the last 5)."""
        sums: dict[str, Tensor] = {}
        types: dict[str, torch.dtype] = {}
        count = 0
        for step in steps:
            count += 1
            for name, weight in self.read(step)["weights"].items():
                types[name] = weight.dtype
                sums[name] = sums[name] + weight.double() if name in sums else weight.double()
        return {name: (total / count).to(types[name]) for name, total in sums.items()}

    def path(self, step: int) -> Path:
        """Returns the path of the checkpoint of a step."""
        return self.folder / f"step-{step:08d}.pt"
