"""One optimizer update: gradients over batches and workers, division by the counts, and skipping of non-finite gradients."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtnat.errors import ResourceError
from mtnat.experiment import Experiment
from mtnat.model import computing_in, resolve_precision
from mtnat.objective import Moment, MultiTaskObjective
from mtnat.training.feed import Work
from mtnat.training.memory import keep_freed_memory
from mtnat.training.optimizer import build_optimizer, learning_rate
from mtnat.training.window import CURVES
from mtnat.training.workers import Workers

# P parts of the loss, Q parts and measures


class Updater:
    """Applies updates to a translator. A step does not wait for the device, unless a branch's loss does, as that of GLAT."""

    def __init__(self, experiment: Experiment, module: MultiTaskObjective, workers: Workers, *, micro_batches: int = 1) -> None:
        self.experiment = experiment
        self.workers = workers
        if workers.device.type == "cpu":
            keep_freed_memory()
        self.optimizer = build_optimizer(module, experiment.training)
        self.precision = resolve_precision(experiment.training.precision, workers.device)
        self.is_half = self.precision is torch.float16
        # Only fp16 needs loss scaling. For the other dtypes the scale is 1, and the scaler only skips non-finite updates.
        self.scaler = torch.amp.GradScaler(workers.device.type, init_scale=2.0**16 if self.is_half else 1.0)
        self.skipped_in_a_row = torch.zeros((), dtype=torch.float64, device=workers.device)
        if experiment.training.compile:
            module.translator.compile_stacks()
        self.module = module
        self.curves = (*CURVES, *(f"{kind}_{name}" for kind in ("sum", "count") for name in (*module.parts, *module.measures)))
        """Names of the values that `step` returns, in order."""
        # With micro-batches a branch may see no sentence of a micro-batch, so its parameters may get no gradient in one pass.
        self.objective = workers.parallel(module, always_runs_all=module.always_runs_all and micro_batches == 1)

    def step(self, work: Work) -> Tensor:
        """Computes one update and applies it if its gradient is finite.

        Returns:
            The update's `curves`, float64, on the device.
        """
        config, device, parts = self.experiment.training, self.workers.device, self.module.parts
        weights = self.module.weights_at(work.step, config.steps)
        divisors_P = self.workers.sum(_on(device, [work.divisors[part] for part in parts]))
        # A part with weight 0 has no predictions, so its divisor of 0 is clamped.
        scales_P = _on(device, [weights[part] for part in parts]) / divisors_P.clamp(min=1)

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(work.step, config)
        self.optimizer.zero_grad(set_to_none=True)
        sums_Q, counts_Q = self._backward(work, scales_P)
        norm = self._apply(config.clip_norm)
        self.skipped_in_a_row = (self.skipped_in_a_row + 1) * ~norm.isfinite()
        totals = self.workers.sum(torch.cat([_on(device, [work.target_tokens]), sums_Q, counts_Q]))
        loss = (scales_P * totals[1 : 1 + len(parts)]).sum()
        return torch.cat([torch.stack([loss, norm.double(), self.skipped_in_a_row]), totals])

    def _backward(self, work: Work, scales_P: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the gradients of all draws; returns the sums of the parts and measures, and their counts."""
        device, parts = self.workers.device, self.module.parts
        # Data-parallel wrappers average gradients over the workers, but Eq. 1 needs their sum, hence the factor `size`.
        # The loss scale is applied here rather than to the total, because the gradients of the decoders are computed during the
        # forward pass, before the total exists.
        scales = dict(zip(parts, self.scaler.scale((scales_P * self.workers.size).float()).unbind(), strict=True))
        sums_Q, counts_Q = torch.zeros(2, len(parts) + len(self.module.measures), dtype=torch.float64, device=device)
        for index, (dropout_seed, draw) in enumerate(zip(work.dropout_seeds, work.draws, strict=True)):
            torch.manual_seed(dropout_seed)
            moment = Moment(work.step, self.experiment.training.steps, dropout_seed)
            with self.workers.last_of(self.objective, is_last=index == len(work.draws) - 1):
                with computing_in(self.precision, device):
                    total, *found = self._loss(draw.to(device), scales, moment)
                total.backward()  # type: ignore[no-untyped-call]
            sums_Q += found[0]
            counts_Q += found[1]
        return sums_Q, counts_Q

    def _loss(self, *arguments: object) -> tuple[Tensor, Tensor, Tensor]:
        try:
            losses: tuple[Tensor, Tensor, Tensor] = self.objective(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise ResourceError(
                f"training.compile: this machine cannot compile ({reason}); install a C++ compiler, or set compile: false."
            ) from None
        return losses

    def _apply(self, clip_norm: float) -> Tensor:
        """Clips the gradients, updates the weights if all gradients are finite, and returns the norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, clip_norm or float("inf"), foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update(None if self.is_half else 1.0)
        return norm

    def state(self) -> dict[str, object]:
        """Returns the state that a resumed run needs to continue exactly."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped_in_a_row": self.skipped_in_a_row.item(),
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Restores a state that `state` returned."""
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.scaler.load_state_dict(state["scaler"])  # type: ignore[arg-type]
        self.skipped_in_a_row.fill_(state["skipped_in_a_row"])  # type: ignore[call-overload]


def _on(device: torch.device, numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).to(device, non_blocking=True)
