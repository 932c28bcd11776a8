"""A decoder that edits: it deletes tokens, inserts placeholders, and replaces placeholders by pieces."""

# B sentences, T target, D width, M placeholders, m those of one block, V vocabulary, P classes of the number of placeholders

import torch
from torch import Tensor, nn

from mtnat.decoding.logits import blocks_of_logits
from mtnat.model import ModelConfig, TargetDecoder
from mtnat.model.flops import ModelFlops
from mtnat.model.linear import Linear
from mtnat.tokens import SPECIAL


class EditDecoder(TargetDecoder):
    """A bidirectional decoder with the heads of the Levenshtein Transformer (Gu et al. 2019, section 3).

    Its sequences begin with BOS and end with EOS, so that there is a gap before the first and after the last piece. MASK is the
    placeholder, where the authors' code uses the unknown token. All heads read the states of the last layer, as in the authors'
    default; their decoders with separate layers and early exits are left out. Unlike theirs, the two small heads have a bias,
    as the other heads of this package have.
    """

    def __init__(
        self, config: ModelConfig, tokens: nn.Embedding, *, most_placeholders: int, layers: nn.ModuleList | None = None
    ) -> None:
        # A target has max_positions tokens with EOS; BOS takes one more position.
        longer = config.model_copy(update={"max_positions": config.max_positions + 1})
        super().__init__(longer, tokens, causal=False, layers=layers)
        self.deletion = Linear(config.width, 2)
        self.placeholders = Linear(2 * config.width, most_placeholders + 1)

    @property
    def most_pieces(self) -> int:
        """Maximum number of pieces between BOS and EOS."""
        return self.config.max_positions - 2

    @property
    def most_placeholders(self) -> int:
        """Maximum number of placeholders that one pass inserts into a gap."""
        return self.placeholders.out_features - 1

    def deletion_logits(self, states_BTD: Tensor) -> Tensor:
        """Computes logits [B, T, 2] of each token: class 0 keeps it, class 1 deletes it."""
        return _in_full_precision(self.deletion, states_BTD)

    def placeholder_logits(self, states_BTD: Tensor) -> Tensor:
        """Computes logits [B, T − 1, P] of each gap between neighbouring tokens: class n inserts n placeholders."""
        return _in_full_precision(self.placeholders, torch.cat((states_BTD[:, :-1], states_BTD[:, 1:]), dim=2))

    @torch.no_grad()
    def fill(self, states_MD: Tensor, uniform_M: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Chooses a piece for each placeholder; special tokens are never chosen.

        Args:
            uniform_M: numbers in [0, 1) that select pieces by their cumulative probability, which samples from the model. None
                chooses the likeliest pieces.

        Returns:
            log-probabilities and ids, [M] each.
        """
        scores, tokens, done = [], [], 0
        for logits_mV in blocks_of_logits(self, states_MD, SPECIAL):
            log_probabilities_mV = logits_mV.log_softmax(1)
            if uniform_M is None:
                tokens_m1 = log_probabilities_mV.argmax(1, keepdim=True)
            else:
                uniform_m1 = uniform_M[done : done + len(logits_mV), None].contiguous()
                tokens_m1 = torch.searchsorted(log_probabilities_mV.exp().cumsum(1), uniform_m1, right=True)
                tokens_m1.clamp_(max=logits_mV.shape[1] - 1)  # rounding may leave the last sum below 1
            scores.append(log_probabilities_mV.gather(1, tokens_m1).squeeze(1))
            tokens.append(tokens_m1.squeeze(1))
            done += len(logits_mV)
        return torch.cat(scores), torch.cat(tokens)

    def head_flops(self, work: ModelFlops, tokens: int, gaps: int) -> int:
        """Counts a forward pass of the deletion head at some tokens and of the placeholder head at some gaps."""
        return 2 * work.config.width * (2 * tokens + 2 * (self.most_placeholders + 1) * gaps)


def _in_full_precision(head: nn.Linear, states: Tensor) -> Tensor:
    """Applies a head without autocast: bfloat16 would often give neighbouring numbers of placeholders equal logits."""
    with torch.autocast(states.device.type, enabled=False):
        logits: Tensor = head(states.to(head.weight.dtype))
    return logits
