"""The exponential moving average of the weights."""

import copy
from typing import Generic, TypeVar

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Module = TypeVar("Module", bound=nn.Module)


class MovingAverage(Generic[Module]):
    """The exponential moving average of a module's weights, with bias correction (Kingma & Ba 2015, section 7.2).

    After update t the average is Σ dᵗ⁻ⁱ·wᵢ / Σ dᵗ⁻ⁱ, where wᵢ are the weights after update i = 1 … t. The initial weights have
    no influence. A skipped update counts as one that did not change the weights.

    Unlike `torch.optim.swa_utils.AveragedModel`, which reads from the device in every update whether it is the first one, this
    class never waits for the device.
    """

    def __init__(self, module: Module, decay: float) -> None:
        """Copies the module, which must not be compiled yet.

        Args:
            decay: d, in [0, 1).
        """
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._decay = decay
        self._means, self._weights = list(self.module.parameters()), list(module.parameters())

    def update(self, step: int) -> None:
        """Adds the weights after an update to the average.

        Args:
            step: t, from 1.
        """
        share = (1 - self._decay) / (1 - self._decay**step)  # the factor of the newest weights in the bias-corrected average
        get_ema_multi_avg_fn(1 - share)(self._means, self._weights, None)  # type: ignore[no-untyped-call]
