"""A decoder with the target embeddings, which are also its output matrix."""

# B batch, S source, T target, D width, V vocabulary, K beam

from torch import Tensor, nn
from torch.nn import functional

from mtnat.model.config import ModelConfig
from mtnat.model.layers import visible
from mtnat.model.stacks import AtCache, Decoder, Encoded, Memory
from mtnat.tokens import PAD


class TargetDecoder(nn.Module):
    """Embeds target tokens, runs a stack of decoder layers and predicts tokens with the embedding matrix.

    The AT and the NAT decoder differ in ``causal`` only. Token sequences are padded on the right with PAD.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokens: nn.Embedding,
        *,
        causal: bool,
        layers: nn.ModuleList | None = None,
        has_second_memory: bool = False,
    ) -> None:
        """Builds the stack.

        Args:
            tokens: the target embeddings. They belong to the translator and are not registered as parameters of this module.
            layers: decoder layers to share with another decoder; by default new layers are built.
            has_second_memory: whether new layers attend to a second memory too.
        """
        super().__init__()
        self.config = config
        self._tokens = (tokens,)  # a tuple, so that PyTorch does not register the embeddings a second time
        self.always_masks = False
        self.stack = Decoder(config, causal=causal, layers=layers, has_second_memory=has_second_memory)

    @property
    def tokens(self) -> nn.Embedding:
        """The target embeddings."""
        return self._tokens[0]

    def remember(self, encoded: Encoded) -> Memory:
        """Computes the cross-attention keys and values of the sources, which every pass reuses."""
        return self.stack.remember(encoded)

    def states(
        self, source: Encoded | Memory, input_BT: Tensor, is_padded: bool | None = None, read_N: Tensor | None = None
    ) -> Tensor:
        """Computes the states [B, T, D] of an input.

        A causal decoder reads BOS and the tokens so far; its state at position t predicts token t. A bidirectional decoder
        reads the whole input, in which MASK stands for the tokens to predict.

        Args:
            source: the encoder's output, or the result of `remember` for it. With a memory the input may have K adjacent rows
                for each source, [B·K, T].
            is_padded: whether the input contains PAD; see `visible` for None.
            read_N: flat indices into the input. The last layer then computes these positions only, and the result is [N, D].
        """
        memory = source if isinstance(source, Memory) else self.remember(source)
        mask = None if self.stack.causal else visible(input_BT == PAD, self.always_masks or is_padded)
        states: Tensor = self.stack(self.tokens(input_BT), mask, memory, read_N)
        return states

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        """Maps states [..., D] to logits [..., V]. Logits are large: select the needed positions first."""
        return functional.linear(states, self.tokens.weight)

    def logits(self, source: Encoded | Memory, input_BT: Tensor) -> Tensor:
        """Computes the logits at every position, [B, T, V]."""
        return self.vocabulary_logits(self.states(source, input_BT))

    def start(self, encoded: Encoded, beam: int = 1) -> AtCache:
        """Returns an empty cache for `beam` hypotheses of each source."""
        return AtCache(self.remember(encoded), beam)

    def step(self, cache: AtCache, token_BK: Tensor) -> Tensor:
        """Adds one token of each hypothesis (first BOS) to the cache and returns the logits of the next token, [B, K, V]."""
        return self.vocabulary_logits(self.stack.step(self.tokens(token_BK), cache))

    def compile_stack(self) -> None:
        """Compiles the stack in place for dynamic shapes."""
        # Always passing a mask avoids a second compiled program for batches without padding.
        self.always_masks = True
        self.stack.compile(dynamic=True)
