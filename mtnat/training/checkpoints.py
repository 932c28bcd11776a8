"""The checkpoints of one run, written atomically."""

import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtnat.errors import ModelError
from mtnat.files import set_aside, whole_file, write_whole
from mtnat.formats import CHECKPOINT_FORMAT, check_entries, format_entries
from mtnat.training.saved import read_saved

_NAME = re.compile(r"step-(\d{8,})\.pt")


class Checkpoints:
    """A folder of ``step-NNNNNNNN.pt`` files, each with a text file of the validation translations of its step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, ascending."""
        return sorted(int(found[1]) for path in self.folder.glob("step-*.pt") if (found := _NAME.fullmatch(path.name)))

    def write(self, step: int, state: Mapping[str, Any], translations: Iterable[str], kept: Set[int]) -> None:
        """Writes one checkpoint, then removes the checkpoints of all steps that are not in `kept`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.translations_path(step), "".join(f"{line}\n" for line in translations).encode())
        with whole_file(self.path(step)) as file:
            torch.save({**format_entries(CHECKPOINT_FORMAT), **state}, file)
        for old in set(self.steps()) - kept:
            self.path(old).unlink()
            self.translations_path(old).unlink(missing_ok=True)

    def set_aside(self, experiment: str) -> list[str]:
        """Renames the first damaged checkpoint and all later ones, and returns a sentence for each of them.

        The final weights of a run may be from an earlier checkpoint than the newest one, so training continues from the newest
        of those before any damage.

        Args:
            experiment: the run's experiment as text. A checkpoint of another one counts as damaged.

        Raises:
            ModelError: a newer version of mtnat wrote a checkpoint.
        """
        said: list[str] = []
        for step in self.steps():
            problem = "follows a damaged checkpoint" if said else self._problem(step, experiment)
            if problem:
                path = self.path(step)
                said.append(f"{path}: {problem}; set aside as {set_aside(path).name}")
        return said

    def _problem(self, step: int, experiment: str) -> str | None:
        """Returns what is wrong with a checkpoint; None if it can be used."""
        path = self.path(step)
        try:
            state = read_saved(path, "")
        except ModelError as error:
            return str(error).removeprefix(f"{path}: ").removesuffix("; .")
        check_entries(state, path, CHECKPOINT_FORMAT, ModelError)
        if state.get("step") != step:
            return f"is the checkpoint of step {state.get('step')}"
        if state.get("experiment", experiment) != experiment:  # those of earlier versions have none
            return "is the checkpoint of another experiment"
        return None if self.translations_path(step).is_file() else "lacks its translations"

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
