"""Floating-point operations of a model: only matrix products over real tokens are counted.

A multiply-add counts as 2. Padding, normalisation, softmax, dropout, embeddings and the optimizer are not counted. Neither are
states that no loss reads, even if they are computed. Operations per second, divided by the machine's peak, are the utilisation
of the machine.
"""

# B sentences

from dataclasses import dataclass

from torch import Tensor

from mtnat.model.config import ModelConfig
from mtnat.tokens import PAD


@dataclass(frozen=True)
class ModelFlops:
    """Operations of a forward pass as a function of sequence lengths; a backward pass needs twice as many."""

    config: ModelConfig
    vocabulary_size: int

    def encoder(self, source_B: Tensor) -> int:
        """Counts an encoder pass over sources of these lengths, EOS included."""
        width, inner = self.config.width, self.config.feed_forward
        projections = int(source_B.sum()) * (8 * width**2 + 4 * width * inner)
        return self.config.encoder_layers * (projections + _attention(source_B, source_B, width))

    def memory(self, source_B: Tensor) -> int:
        """Counts the projections of the encoder states to keys and values in every layer of one decoder."""
        return self.config.decoder_layers * int(source_B.sum()) * 4 * self.config.width**2

    def at_pass(self, source_B: Tensor, target_B: Tensor) -> int:
        """Counts a pass of a causal decoder without its memory. Causal self-attention counts half of its score matrix."""
        self_attention = _attention(target_B, target_B, self.config.width) // 2
        return self.config.decoder_layers * self._decoder_layer(source_B, target_B, target_B, self_attention)

    def nat_pass(self, source_B: Tensor, target_B: Tensor, read_B: Tensor) -> int:
        """Counts a pass of a bidirectional decoder without its memory.

        Args:
            read_B: number of positions of each target whose states are read. The last layer computes only these.
        """

        def layer(queries_B: Tensor) -> int:
            return self._decoder_layer(source_B, target_B, queries_B, _attention(queries_B, target_B, self.config.width))

        return (self.config.decoder_layers - 1) * layer(target_B) + layer(read_B)

    def _decoder_layer(self, source_B: Tensor, target_B: Tensor, queries_B: Tensor, self_attention: int) -> int:
        """Counts one decoder layer without the keys and values of the sources.

        Args:
            queries_B: number of positions of each target that the layer computes. Its keys and values cover all positions.
            self_attention: operations of the self-attention.
        """
        width, inner = self.config.width, self.config.feed_forward
        # Per query: the query and output projections of self- and cross-attention, and the feed-forward sublayer.
        of_queries = int(queries_B.sum()) * (8 * width**2 + 4 * width * inner)
        of_keys = int(target_B.sum()) * 4 * width**2
        return of_queries + of_keys + self_attention + _attention(queries_B, source_B, width)

    def vocabulary(self, predictions: int) -> int:
        """Counts the output projection to the vocabulary at this number of positions."""
        return 2 * self.config.width * self.vocabulary_size * predictions

    def lengths(self, sentences: int) -> int:
        """Counts the length head for this number of sentences."""
        is_offset = self.config.length_prediction == "offset"
        classes = 2 * self.config.max_positions - 1 if is_offset else self.config.max_positions
        return 2 * self.config.width * classes * sentences


def lengths_of(tokens_BT: Tensor) -> Tensor:
    """Returns the length of each row without padding, [B]."""
    return (tokens_BT != PAD).sum(1)


def _attention(queries_B: Tensor, keys_B: Tensor, width: int) -> int:
    """Counts QKᵀ and the weighted sum of the values."""
    return 4 * width * int((queries_B * keys_B).sum())
