"""One optimizer update: its noise, its gradients, its divisor."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mtnat.data import Batch
from mtnat.experiment import Experiment
from mtnat.objective import PARTS, draw_noise, weights_at
from mtnat.training.optimizer import build_optimizer, learning_rate, resolve_precision
from mtnat.training.workers import Workers

CURVES = ("loss", *(f"loss_{part}" for part in PARTS), "gradient_norm")
"""What a window of updates averages, in the order in which tensors hold it."""


class Updater:
    """Applies updates to a translator.

    All randomness of an update is a pure function of (seed, step, number of the batch within the step), so a run that
    is resumed, or shared among other workers, draws the same masks and the same dropout.
    """

    def __init__(self, experiment: Experiment, module: nn.Module, workers: Workers) -> None:
        self.experiment = experiment
        self.workers = workers
        self.objective = workers.parallel(module)
        self.optimizer = build_optimizer(module, experiment.training)
        self.precision = resolve_precision(experiment.training.precision, workers.device)
        self.scaler = torch.amp.GradScaler(workers.device.type, enabled=self.precision is torch.float16)

    def step(self, step: int, batches: Sequence[tuple[int, Batch]]) -> Tensor:
        """One update.

        Args:
            step: updates done before this one.
            batches: this worker's, each with its number within the whole step.

        Returns:
            The update's `CURVES`, double, on the device.
        """
        config = self.experiment.training
        device = self.workers.device
        draws = [(self._noise_seed(step, number), batch) for number, batch in batches]
        drawn = [
            (seeds[1], draw_noise(batch.source_BS, batch.target_BT, self.experiment.objective, _generator(seeds[0])))
            for seeds, batch in draws
        ]
        counts = self.workers.sum(
            torch.tensor([sum(draw.counts[part] for _, draw in drawn) for part in PARTS], dtype=torch.float64).to(device)
        )
        weights = weights_at(self.experiment.objective, step, config.steps)
        weights_P = torch.tensor([weights[part] for part in PARTS], dtype=torch.float64).to(device)
        # Data-parallel wrappers average gradients over the workers; the sum is what Eq. 1 needs.
        scales_P = (weights_P / counts * self.workers.size).float()
        scales = dict(zip(PARTS, scales_P.unbind(), strict=True))

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(len(PARTS), dtype=torch.float64, device=device)
        for index, (dropout_seed, draw) in enumerate(drawn):
            torch.manual_seed(dropout_seed)
            with self.workers.last_of(self.objective, is_last=index == len(drawn) - 1):
                with torch.autocast(device.type, self.precision, enabled=self.precision is not torch.float32):
                    total, part_sums = self.objective(draw.to(device), scales)
                self.scaler.scale(total).backward()
            sums += part_sums
        norm = self._apply(config.clip_norm)
        means = self.workers.sum(sums) / counts
        return torch.cat([(weights_P * means).sum()[None], means, norm.double()[None]])

    def _apply(self, clip_norm: float) -> Tensor:
        """Clips, updates, and returns the gradient norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, clip_norm or float("inf"), foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _noise_seed(self, step: int, number: int) -> tuple[int, int]:
        """Seeds of the masks and of dropout for one batch."""
        state = np.random.SeedSequence((self.experiment.seed, step, number)).generate_state(2, np.uint64)
        return int(state[0] >> np.uint64(1)), int(state[1] >> np.uint64(1))

    def state(self) -> dict[str, object]:
        """What a later process needs to go on exactly."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def restore(self, state: Mapping[str, object]) -> None:
        """The reverse of `state`."""
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.scaler.load_state_dict(state["scaler"])  # type: ignore[arg-type]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
