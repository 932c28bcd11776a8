"""A decoder together with the target embeddings that it reads and predicts with."""

# B batch, S source, T target, D width, V vocabulary, K beam

from torch import Tensor, nn
from torch.nn import functional

from mtnat.model.config import ModelConfig
from mtnat.model.layers import visible
from mtnat.model.stacks import AtCache, Decoder, Encoded, Memory
from mtnat.tokens import PAD


class TargetDecoder(nn.Module):
    """Embeds target tokens, runs a stack of decoder layers, and predicts tokens with the embedding matrix.

    The AT and the NAT decoder differ by ``causal`` only. Token sequences are padded on the right with PAD.
    """

    def __init__(self, config: ModelConfig, tokens: nn.Embedding, *, causal: bool, layers: nn.ModuleList | None = None) -> None:
        """Builds the stack.

        Args:
            tokens: the target embeddings. They belong to the translator and are no parameters of this module.
            layers: decoder layers to share with another decoder; by default the decoder has its own.
        """
        super().__init__()
        self.config = config
        self._tokens = (tokens,)  # a tuple, so that PyTorch does not register the embeddings a second time
        self.always_masks = False
        self.stack = Decoder(config, causal=causal, layers=layers)

    @property
    def tokens(self) -> nn.Embedding:
        """The target embeddings."""
        return self._tokens[0]

    def remember(self, encoded: Encoded) -> Memory:
        """Computes what every pass reads of the sources."""
        return self.stack.remember(encoded)

    def states(
        self, source: Encoded | Memory, input_BT: Tensor, is_padded: bool | None = None, read_N: Tensor | None = None
    ) -> Tensor:
        """Computes the states [B, T, D] of an input.

        A causal decoder reads BOS and the tokens so far; its state at position t predicts token t. Any other decoder reads the
        whole input, in which MASK stands for the tokens to predict.

        Args:
            source: the encoder's result, or what `remember` made of it. With a memory the input may have K rows for each
                source, those of one source side by side: [B·K, T].
            is_padded: whether the input holds any PAD; None looks it up.
            read_N: flat indices into the input. The result then has the states of these positions only, [N, D].
        """
        memory = source if isinstance(source, Memory) else self.remember(source)
        mask = None if self.stack.causal else visible(input_BT == PAD, self.always_masks or is_padded)
        states: Tensor = self.stack(self.tokens(input_BT), mask, memory, read_N)
        return states

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        """Maps states [..., D] to logits [..., V]; select the positions you need first."""
        return functional.linear(states, self.tokens.weight)

    def logits(self, source: Encoded | Memory, input_BT: Tensor) -> Tensor:
        """Computes the logits at every position, [B, T, V]."""
        return self.vocabulary_logits(self.states(source, input_BT))

    def start(self, encoded: Encoded, beam: int = 1) -> AtCache:
        """Returns the cache before the first token of `beam` hypotheses of each source."""
        return AtCache(self.remember(encoded), beam)

    def step(self, cache: AtCache, token_BK: Tensor) -> Tensor:
        """Reads one more token of each hypothesis (first BOS) into the cache and returns the logits of the next, [B, K, V]."""
        return self.vocabulary_logits(self.stack.step(self.tokens(token_BK), cache))

    def compile_stack(self) -> None:
        """Compiles the stack in place, for any shape."""
        # With and without a mask would be two programs.
        self.always_masks = True
        self.stack.compile(dynamic=True)
