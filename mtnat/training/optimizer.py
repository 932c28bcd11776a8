"""The optimizer and the learning-rate schedule."""

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
    return torch.optim.AdamW(groups, lr=0.0, betas=config.adam_betas, eps=config.adam_epsilon, fused=True)
