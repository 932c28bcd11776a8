"""Logits over a large vocabulary for a block of positions at a time, and the gradients of a loss that reads them."""

# N positions, R positions of one block, P positions of a block with padding rows, C columns that a loss reads, D width,
# V vocabulary

import torch
from torch import Tensor

from mtnat.model.linear import pad_rows, padded_count

_BYTES_AT_ONCE = {"cpu": 1 << 24}
"""Bytes for the float32 logits of one block: on a CPU they fit the cache; on other devices they are enough to keep it busy."""
_BYTES_AT_ONCE_ELSEWHERE = 1 << 29


def rows_at_once(states_ND: Tensor, weight_VD: Tensor) -> int:
    """Returns how many positions a block should have on the device of the states; at least 1."""
    return max(1, _BYTES_AT_ONCE.get(states_ND.device.type, _BYTES_AT_ONCE_ELSEWHERE) // (4 * len(weight_VD)))


def product_dtype(weight_VD: Tensor) -> torch.dtype:
    """Returns the dtype of the products with the vocabulary: autocast's dtype if autocast is on, otherwise the weight's."""
    device = weight_VD.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype


class LogitBlocks:
    """The logits ``states·weightᵀ``, of which only one block is in memory, and the gradients of a sum over all blocks.

    A loss calls `read` for a block, turns the probabilities that it gets into the gradient with respect to the logits, in
    place, and passes that to `add_gradient`. The backward pass then needs neither the logits nor a second product with the
    vocabulary.

    Args:
        states_ND: states of all positions.
        weight_VD: output embeddings, one row per label.
        dtype: dtype of the products.
        most_rows: number of positions of the largest block.
        wants_gradient: whether `add_gradient` will be called.
    """

    def __init__(
        self, states_ND: Tensor, weight_VD: Tensor, dtype: torch.dtype, most_rows: int, *, wants_gradient: bool
    ) -> None:
        self._states_ND = states_ND
        self._is_exact = dtype == weight_VD.dtype == torch.float32
        self._weight_VD = weight_VD.to(dtype)
        if wants_gradient:
            self.gradient_ND = torch.empty_like(states_ND)
            self.gradient_VD = torch.zeros_like(weight_VD)
        rows = padded_count(most_rows)
        # One buffer serves all blocks: allocating it for each block would cost as much as the product.
        self._logits = self._weight_VD.new_empty(rows, len(weight_VD))
        # The softmax of a CPU processes one row at a time, so it can overwrite its input.
        in_place = self._is_exact and weight_VD.device.type == "cpu"
        self._probabilities = self._logits if in_place else self._logits.new_empty(self._logits.shape, dtype=torch.float32)

    def read(self, start: int, stop: int, columns_RC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the logits of the positions from `start` to `stop`.

        Returns:
            float32 logits of the columns [R, C], logsumexp of the logits [R], and probabilities [R, V], which the caller may
            overwrite. The next call overwrites them too.
        """
        states_RD = self._states_ND[start:stop]
        self._states_PD = states_RD if self._is_exact else pad_rows(states_RD, self._weight_VD.dtype)
        self._logits_PV = torch.mm(self._states_PD, self._weight_VD.t(), out=self._logits[: len(self._states_PD)])
        logits_RV, probabilities_RV = self._logits_PV[: len(states_RD)], self._probabilities[: len(states_RD)]
        # Read before the softmax, which may overwrite the logits.
        largest_R, read_RC = logits_RV.amax(1).float(), logits_RV.gather(1, columns_RC).float()
        torch.softmax(logits_RV, 1, dtype=torch.float32, out=probabilities_RV)
        # logsumexp without a second pass over the logits: max(p) = exp(max(z) − logsumexp(z)).
        return read_RC, largest_R - probabilities_RV.amax(1).log(), probabilities_RV

    def add_gradient(self, start: int, stop: int, errors_RV: Tensor) -> None:
        """Adds the gradients of the block that was read last, given the gradient of its loss with respect to its logits."""
        if self._is_exact:
            self.gradient_ND[start:stop] = errors_RV @ self._weight_VD
            self.gradient_VD.addmm_(errors_RV.t(), self._states_PD)
        else:
            self._logits_PV[: len(errors_RV)].copy_(errors_RV)  # the products run in half precision
            self.gradient_ND[start:stop] = (self._logits_PV @ self._weight_VD)[: len(errors_RV)]
            self.gradient_VD += self._logits_PV.t() @ self._states_PD  # padding rows of the states are zeros and add nothing
