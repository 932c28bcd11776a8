"""The checkpoints of one run, written atomically."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtnat.errors import ModelError
from mtnat.files import whole_file, write_whole


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
        with whole_file(self._path(step)) as file:
            torch.save(dict(state), file)
        for old in set(self.steps()) - kept:
            self._path(old).unlink()
            self.translations_path(old).unlink(missing_ok=True)

    def read(self, step: int) -> dict[str, Any]:
        """Reads the checkpoint of a step, on the host.

        Raises:
            ModelError: the file is missing or damaged.
        """
        path = self._path(step)
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path}: cannot be read ({reason}); remove it to resume from an earlier checkpoint.") from None
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

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.pt"
