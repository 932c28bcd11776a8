"""The translator: a shared encoder and the branches that translate from its states."""

# B batch, S source, D width

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mtnat.errors import ModelError
from mtnat.model.config import ModelConfig
from mtnat.model.layers import visible
from mtnat.model.stacks import Encoded, Encoder
from mtnat.tokens import PAD

BranchesOf = Callable[[nn.Embedding], Mapping[str, nn.Module]]
"""Builds the branches, by name, from the target embeddings."""

_FORMER_NAMES = {
    "at_decoder.": "branches.at.decoder.stack.",
    "nat_decoder.": "branches.nat.decoder.stack.",
    "length_head.": "branches.nat.length_head.",
}
"""Former prefixes of weight names and their replacements, so that older model folders and checkpoints still load."""


class Translator(nn.Module):
    """A Transformer encoder that several branches share (Hao et al. 2021, section 3).

    A branch is a decoder with its heads; a system builds the branches. The target embeddings are the output matrix of every
    branch. With a joint vocabulary they also embed the source; otherwise the source has its own embeddings. Token sequences are
    padded on the right with PAD and contain at least one other token.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        joint: bool,
        branches: BranchesOf,
    ) -> None:
        super().__init__()
        assert not joint or source_vocabulary_size == target_vocabulary_size
        self.config = config
        self.always_masks = False
        self.target_tokens = nn.Embedding(target_vocabulary_size, config.width, padding_idx=PAD)
        self.source_tokens = None if joint else nn.Embedding(source_vocabulary_size, config.width, padding_idx=PAD)
        self.encoder = Encoder(config)
        self.branches = nn.ModuleDict(branches(self.target_tokens))
        if self.source_tokens is not None:
            for branch in self.branches.values():
                branch.use_source_tokens(self.source_tokens)  # type: ignore[operator]
        self.apply(_initialise)
        self.register_load_state_dict_pre_hook(_adapt_former)  # type: ignore[no-untyped-call]

    def encode(self, source_BS: Tensor, is_padded: bool | None = None) -> Encoded:
        """Encodes sources that end with EOS.

        Args:
            is_padded: whether the sources contain PAD; see `visible` for None.
        """
        is_padding_BS = source_BS == PAD
        mask = visible(is_padding_BS, self.always_masks or is_padded)
        tokens_BSD = (self.source_tokens or self.target_tokens)(source_BS)
        return Encoded(self.encoder(tokens_BSD, mask), is_padding_BS, mask, source_BS)

    def encoder_layers(self, source_BS: Tensor) -> list[Tensor]:
        """Returns the embeddings with their positions, and the states of each encoder layer, [B, S, D] each; see `encode`."""
        mask = visible(source_BS == PAD, self.always_masks or None)
        return self.encoder.all_layers((self.source_tokens or self.target_tokens)(source_BS), mask)

    def branch(self, name: str) -> nn.Module:
        """Returns a branch by its name, ``at`` or ``nat``.

        Raises:
            ModelError: the model was trained without this branch.
        """
        if name not in self.branches:
            others = " or ".join(self.branches).upper()
            raise ModelError(f"this model was trained without the {name.upper()} decoder; use its {others} decoder.")
        return self.branches[name]

    def compile_stacks(self) -> None:
        """Compiles the encoder and the decoders in place for dynamic shapes. Names of weights do not change."""
        # Always passing masks avoids a second compiled program for batches without padding.
        self.always_masks = True
        self.encoder.compile(dynamic=True)
        for branch in self.branches.values():
            branch.compile_stacks()  # type: ignore[operator]


def _adapt_former(module: Translator, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Gives weights of earlier versions their present names, and drops those of a branch that the objective does not train.

    Earlier versions built such a branch if λ was constant but its schedule was not, such as a linear one from 1 to 1.
    """
    for name in list(state):
        for former, present in _FORMER_NAMES.items():
            if name.startswith(prefix + former):
                state[prefix + present + name.removeprefix(prefix + former)] = state.pop(name)
    branches = f"{prefix}branches."
    for name in [name for name in state if name.startswith(branches)]:
        if name.removeprefix(branches).split(".")[0] not in module.branches:
            del state[name]


def _initialise(module: nn.Module) -> None:
    """Initialises linear layers as in Glorot and Bengio 2010, biases with 0, and embeddings from N(0, 1/D).

    Unlike the paper, which draws all weights from BERT's N(0, 0.02²), because that is too small for narrow models. At width 128
    and after 400 updates on reversing sentences, neither decoder had started to learn with the paper's initialisation, whereas
    this one reached 70 % of the tokens.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        if module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])
