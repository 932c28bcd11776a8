"""The optimizer and the learning-rate schedule."""

from inspect import unwrap

import torch
from torch import nn

from mtnat.experiment import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Returns the learning rate: linear warm-up, then inverse square root decay (Vaswani et al. 2017, section 5.3).

    Args:
        step: updates done before this one.
    """
    if step < config.warmup_steps:
        return (
            config.initial_learning_rate
            + (config.peak_learning_rate - config.initial_learning_rate) * step / config.warmup_steps
        )
    return float(config.peak_learning_rate * (max(1, config.warmup_steps) / max(1, step)) ** 0.5)


def build_optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Builds AdamW. Only matrices decay, unlike the authors' code, where biases and normalisation weights decay too."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return _AdamW(groups, lr=0.0, betas=config.adam_betas, eps=config.adam_epsilon, fused=True)


class _AdamW(torch.optim.AdamW):
    """AdamW that is never called by compiled code.

    The decorators that hide its methods from PyTorch's compiler import the compiler, which takes several seconds in every
    process. The methods are therefore used without these decorators. The results are the same.
    """

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    state_dict = unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = unwrap(torch.optim.AdamW.load_state_dict)
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
