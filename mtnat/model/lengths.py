"""The NAT decoder's length head."""

# B batch, S source, D width, P max_positions, C classes

import torch
from torch import Tensor, nn

from mtnat.model.config import ModelConfig
from mtnat.model.linear import Linear


class LengthHead(nn.Module):
    """Predicts the target length from the mean of the encoder states.

    The offset classes cover every difference between two lengths below P, so every target length has a class.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.max_positions = config.max_positions
        self.is_offset = config.length_prediction == "offset"
        self.classes = Linear(config.width, 2 * config.max_positions - 1 if self.is_offset else config.max_positions)

    def forward(self, states_BSD: Tensor, is_padding_BS: Tensor) -> Tensor:
        """Computes float32 logits [B, P] of the target lengths 0, 1, …, P−1, without EOS. Length 0 has −inf."""
        is_token_BS = ~is_padding_BS
        tokens_B = is_token_BS.sum(dim=1)
        mean_BD = (states_BSD.float() * is_token_BS[:, :, None]).sum(dim=1) / tokens_B[:, None]
        with torch.autocast(mean_BD.device.type, enabled=False):  # bfloat16 would often give neighbouring lengths equal logits
            logits: Tensor = self.classes(mean_BD)
        lengths_P = torch.arange(self.max_positions, device=logits.device)
        if self.is_offset:
            # Class c stands for the offset c − (P − 1), so target length l has class l − source length + P − 1, with the source
            # length without EOS.
            logits = logits.gather(1, lengths_P - (tokens_B - 1)[:, None] + self.max_positions - 1)
        return logits.masked_fill(lengths_P < 1, -torch.inf)
