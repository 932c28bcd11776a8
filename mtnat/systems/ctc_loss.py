"""The CTC loss (Graves et al. 2006) over a large vocabulary, computed without holding all log-probabilities in memory."""

# B sentences, b sentences of one block, U upsampled source, T target, D width, L labels: the vocabulary and the blank,
# C labels that a target can use, and M = b·U positions of one block

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mtnat.objective.logit_blocks import LogitBlocks, product_dtype, rows_at_once

_IMPOSSIBLE = -1e4
"""Log-probability of a label that no alignment uses; −∞ would make the gradients NaN."""


def ctc_loss_sum(
    states_BUD: Tensor, weight_LD: Tensor, target_BT: Tensor, lengths_B: Tensor, positions_B: Tensor, is_feasible_B: Tensor
) -> Tensor:
    """Computes −log p(target), summed over the sentences that can be aligned; a float32 scalar.

    A target uses only its own pieces and the blank, so the sums over alignments run over those few labels. All other labels of
    a position enter as one label with their total probability. The gradient with respect to the logits of a position is
    ``softmax − γ``, where γ is the posterior probability of each label (Graves et al. 2006, Eq. 16).

    Args:
        states_BUD: states of the decoder; the rows beyond `positions_B` are ignored.
        weight_LD: output embeddings; the last one is the blank's.
        target_BT: ids of the target pieces; the columns beyond `lengths_B` are ignored.
        lengths_B: number of pieces of each target, on the CPU.
        positions_B: number of positions of each source, on the CPU.
        is_feasible_B: whether a target can be aligned, on the device of the states.
    """
    dtype = product_dtype(weight_LD)
    with torch.autocast(states_BUD.device.type, enabled=False):  # sums over alignments need float32
        total: Tensor = _CtcLossSum.apply(  # type: ignore[no-untyped-call]
            states_BUD, weight_LD, target_BT, lengths_B, positions_B, is_feasible_B, dtype
        )
    return total


class _CtcLossSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states_BUD: Tensor,
        weight_LD: Tensor,
        target_BT: Tensor,
        lengths_B: Tensor,
        positions_B: Tensor,
        is_feasible_B: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        batch, most_positions, _ = states_BUD.shape
        device = states_BUD.device
        is_used_BC, columns_BC, label_BT = _labels(target_BT, lengths_B.to(device, non_blocking=True), len(weight_LD) - 1)
        is_position_BU = torch.arange(most_positions, device=device) < positions_B.to(device, non_blocking=True)[:, None]
        counts_BU = is_position_BU & is_feasible_B[:, None]
        total = states_BUD.new_zeros((), dtype=torch.float32)
        wants_gradient = any(ctx.needs_input_grad)
        states_ND = states_BUD.flatten(0, 1)
        at_once = max(1, min(batch, rows_at_once(states_ND, weight_LD) // most_positions))
        blocks = LogitBlocks(states_ND, weight_LD, dtype, at_once * most_positions, wants_gradient=wants_gradient)
        for first in range(0, batch, at_once):
            sentences = slice(first, min(first + at_once, batch))
            start, stop = sentences.start * most_positions, sentences.stop * most_positions
            columns_MC = columns_BC[sentences].repeat_interleave(most_positions, dim=0)
            is_used_MC = is_used_BC[sentences].repeat_interleave(most_positions, dim=0)
            logits_MC, normaliser_M, errors_ML = blocks.read(start, stop, columns_MC)
            log_probabilities_MC = (logits_MC - normaliser_M[:, None]).masked_fill(~is_used_MC, _IMPOSSIBLE)
            losses_b, posterior_MC = _alignments(
                log_probabilities_MC, label_BT[sentences], lengths_B[sentences], positions_B[sentences], wants_gradient
            )
            total += (losses_b * is_feasible_B[sentences]).sum()
            if wants_gradient:
                errors_ML.scatter_add_(1, columns_MC, -posterior_MC)
                errors_ML *= counts_BU[sentences].flatten()[:, None]
                blocks.add_gradient(start, stop, errors_ML)
        if wants_gradient:
            ctx.save_for_backward(blocks.gradient_ND.view_as(states_BUD), blocks.gradient_VD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient_BUD, gradient_LD = ctx.saved_tensors
        return gradient_BUD * upstream, gradient_LD * upstream, None, None, None, None, None


def _labels(target_BT: Tensor, lengths_B: Tensor, blank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers the labels that each target uses: its pieces, where equal pieces share the number of the first, then the blank.

    Returns:
        whether a number is in use [B, C], the label that it stands for [B, C], and the target as numbers [B, T].
    """
    numbers_T = torch.arange(target_BT.shape[1], device=target_BT.device)
    is_equal_BTT = target_BT[:, :, None] == target_BT[:, None, :]
    first_BT = is_equal_BTT.int().argmax(2)  # the first of several maxima
    is_first_BT = (first_BT == numbers_T) & (numbers_T < lengths_B[:, None])
    is_used_BC = functional.pad(is_first_BT, (0, 1), value=True)
    return is_used_BC, functional.pad(target_BT, (0, 1), value=blank), first_BT


def _alignments(
    log_probabilities_MC: Tensor, label_bT: Tensor, lengths_b: Tensor, positions_b: Tensor, wants_posterior: bool
) -> tuple[Tensor, Tensor]:
    """Sums over all alignments.

    Returns:
        −log p(target) of each sentence, 0 where there is no alignment, and the posterior probability γ of each label [M, C],
        empty if it is not wanted.
    """
    others_M1 = (1 - log_probabilities_MC.exp().sum(1, keepdim=True)).clamp_min(torch.finfo(torch.float32).tiny)
    logits_MX = torch.cat((log_probabilities_MC, others_M1.log()), dim=1)
    labels = logits_MX.shape[1]
    with torch.enable_grad():
        logits_MX.requires_grad_(wants_posterior)
        # The softmax changes nothing but rounding. PyTorch's CTC loss has the right gradient only behind a softmax.
        log_probabilities_UbX = logits_MX.log_softmax(1).view(len(label_bT), -1, labels).transpose(0, 1)
        losses_b = functional.ctc_loss(
            log_probabilities_UbX,
            label_bT,
            positions_b,
            lengths_b,
            blank=labels - 2,
            reduction="none",
            zero_infinity=True,
        )
        total = losses_b.sum()
    if not wants_posterior:
        return losses_b, torch.empty(0)
    (errors_MX,) = torch.autograd.grad(total, logits_MX)
    return losses_b.detach(), (logits_MX.detach().exp() - errors_MX)[:, :-1]
