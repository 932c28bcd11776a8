"""The exponential moving average of the weights."""

import copy
from typing import Generic, TypeVar

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Module = TypeVar("Module", bound=nn.Module)


class MovingAverage(Generic[Module]):
    """A copy of a module whose weights follow the original's, corrected for its start (Kingma & Ba 2015, section 7.2).

    After update t it is Σ dᵗ⁻ⁱ·wᵢ / Σ dᵗ⁻ⁱ over the weights after the updates i = 1 … t, so the initial weights have no part
    in it. An update that was skipped counts as one that changed nothing.

    Unlike `torch.optim.swa_utils.AveragedModel`, which asks the device in every update whether it is the first one, this
    never waits for it.
    """

    def __init__(self, module: Module, decay: float) -> None:
        """Copies the module, which must not be compiled yet.

        Args:
            decay: d, from 0 to below 1.
        """
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._decay = decay
        self._means, self._weights = list(self.module.parameters()), list(module.parameters())

    def update(self, step: int) -> None:
        """Takes up the weights as they are after an update.

        Args:
            step: t, from 1.
        """
        share = (1 - self._decay) / (1 - self._decay**step)  # of these weights in the mean of so many
        get_ema_multi_avg_fn(1 - share)(self._means, self._weights, None)  # type: ignore[no-untyped-call]
