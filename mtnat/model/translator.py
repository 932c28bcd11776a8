"""The translator: one encoder, an autoregressive (AT) and a non-autoregressive (NAT) decoder."""

# B batch, S source, T target, D width, V vocabulary, K beam

from typing import NamedTuple, TypeVar

from torch import Tensor, nn
from torch.nn import functional

from mtnat.errors import ModelError
from mtnat.model.config import ModelConfig
from mtnat.model.layers import visible
from mtnat.model.lengths import LengthHead
from mtnat.model.stacks import AtCache, Decoder, Encoder, Memory
from mtnat.tokens import PAD

Part = TypeVar("Part", bound=nn.Module)


class Encoded(NamedTuple):
    """A batch of sources after the encoder."""

    states_BSD: Tensor
    is_padding_BS: Tensor
    mask: Tensor | None
    """What attention may see of the states, or None for all of them; see `visible`."""

    def only(self, rows: Tensor | None) -> "Encoded":
        """Only these sentences; None is all of them."""
        if rows is None:
            return self
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Encoded(self.states_BSD.index_select(0, rows), self.is_padding_BS.index_select(0, rows), mask)


class Translator(nn.Module):
    """A Transformer with a shared encoder and two decoders (Hao et al. 2021, section 3).

    With a joint vocabulary one matrix embeds source and target and is the output matrix of both decoders; else the source has
    its own. Token sequences are padded on the right with PAD and hold at least one other token.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        joint: bool,
        with_at: bool = True,
        with_nat: bool = True,
    ) -> None:
        super().__init__()
        assert not joint or source_vocabulary_size == target_vocabulary_size
        self.config = config
        self.always_masks = False
        self.target_tokens = nn.Embedding(target_vocabulary_size, config.width, padding_idx=PAD)
        self.source_tokens = None if joint else nn.Embedding(source_vocabulary_size, config.width, padding_idx=PAD)
        self.encoder = Encoder(config)
        self.at_decoder = Decoder(config, causal=True) if with_at else None
        self.nat_decoder = Decoder(config, causal=False) if with_nat else None
        self.length_head = LengthHead(config) if with_nat else None
        self.apply(_initialise)

    def encode(self, source_BS: Tensor, is_padded: bool | None = None) -> Encoded:
        """The encoder's states of sources that end with EOS; whoever knows whether there is any PAD in them says so."""
        is_padding_BS = source_BS == PAD
        mask = visible(is_padding_BS, self.always_masks or is_padded)
        tokens_BSD = (self.source_tokens or self.target_tokens)(source_BS)
        return Encoded(self.encoder(tokens_BSD, mask), is_padding_BS, mask)

    def at_states(self, source: Encoded | Memory, input_BT: Tensor) -> Tensor:
        """States [B, T, D] that predict token t at position t; the input begins with BOS and no state sees a later token.

        Given `at_memory`'s answer, the input may have K rows for each source, those of one source side by side: [B·K, T].
        """
        decoder = _present(self.at_decoder, "AT")
        memory = source if isinstance(source, Memory) else _remember(decoder, source)
        states: Tensor = decoder(self.target_tokens(input_BT), None, memory)
        return states

    def nat_states(
        self, source: Encoded | Memory, input_BT: Tensor, is_padded: bool | None = None, read_N: Tensor | None = None
    ) -> Tensor:
        """States [B, T, D], each from the whole input, in which MASK stands for what is to be predicted.

        Given `nat_memory`'s answer, the input may have K rows for each source, those of one source side by side: [B·K, T].
        Whoever knows whether there is any PAD in the input says so. Given flat indices into the input, the states are those of
        these positions alone, [N, D], and what only the others would need is not computed.
        """
        decoder = _present(self.nat_decoder, "NAT")
        memory = source if isinstance(source, Memory) else _remember(decoder, source)
        states: Tensor = decoder(
            self.target_tokens(input_BT), visible(input_BT == PAD, self.always_masks or is_padded), memory, read_N
        )
        return states

    def at_memory(self, encoded: Encoded) -> Memory:
        """What the AT decoder reads of the sources."""
        return _remember(_present(self.at_decoder, "AT"), encoded)

    def nat_memory(self, encoded: Encoded) -> Memory:
        """What every pass of the NAT decoder reads of the sources."""
        return _remember(_present(self.nat_decoder, "NAT"), encoded)

    def compile_stacks(self) -> None:
        """Compiles the encoder and the decoders, in place, for any shape; weights and their names stay as they are."""
        # With and without a mask would be two programs, for each mask that there is.
        self.always_masks = True
        for stack in (self.encoder, self.at_decoder, self.nat_decoder):
            if stack is not None:
                stack.compile(dynamic=True)

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        """[…, D] to [..., V]; select the positions you need first."""
        return functional.linear(states, self.target_tokens.weight)

    def at_logits(self, encoded: Encoded, input_BT: Tensor) -> Tensor:
        """The AT decoder's logits at every position, [B, T, V]."""
        return self.vocabulary_logits(self.at_states(encoded, input_BT))

    def nat_logits(self, encoded: Encoded, input_BT: Tensor) -> Tensor:
        """The NAT decoder's logits at every position, [B, T, V]."""
        return self.vocabulary_logits(self.nat_states(encoded, input_BT))

    def length_logits(self, encoded: Encoded) -> Tensor:
        """Log-odds [B, max_positions] of the target's length without EOS: column l is length l, column 0 is −inf."""
        logits: Tensor = _present(self.length_head, "NAT")(encoded.states_BSD, encoded.is_padding_BS)
        return logits

    def at_start(self, encoded: Encoded, beam: int = 1) -> AtCache:
        """The state before the first token of `beam` hypotheses of each source."""
        return AtCache(self.at_memory(encoded), beam)

    def at_step(self, cache: AtCache, token_BK: Tensor) -> Tensor:
        """Reads one more token of each hypothesis (first BOS) into the cache; the logits of the next, [B, K, V]."""
        states = _present(self.at_decoder, "AT").step(self.target_tokens(token_BK), cache)
        return self.vocabulary_logits(states)


def _remember(decoder: Decoder, encoded: Encoded) -> Memory:
    return decoder.remember(encoded.states_BSD, encoded.mask)


def _present(part: Part | None, name: str) -> Part:
    if part is None:
        raise ModelError(f"this model was trained without the {name} decoder; decode with the other one.")
    return part


def _initialise(module: nn.Module) -> None:
    """Linear maps as Glorot and Bengio 2010, biases 0, embeddings from N(0, 1/D).

    Unlike the paper, which draws everything from BERT's N(0, 0.02²), because that is too small for narrow models: at width 128
    neither decoder had begun to learn to reverse a sentence after 400 updates, which took these weights to 70 % of the tokens.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        if module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])
