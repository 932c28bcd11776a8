"""Floating-point operations that a model requires: the matrix products over real tokens.

A multiply-add counts as 2 operations. Padding, normalisation, softmax, dropout, embeddings, the optimizer and outputs that no
loss reads do not count, whether a program computes them or not. Operations per second, divided by the peak of the machine,
are therefore the utilisation (model FLOPs utilisation).
"""

# B sentences, A sentences that are still refined

from dataclasses import dataclass

import torch
from torch import Tensor

from mtnat.decoding import DecodingConfig
from mtnat.decoding.mask_predict import Candidates
from mtnat.model import ModelConfig
from mtnat.objective import Draw
from mtnat.tokens import PAD


@dataclass(frozen=True)
class ModelWork:
    """The operations of a translator as a function of the lengths of sentences."""

    config: ModelConfig
    vocabulary_size: int
    encoder_passes: int = 1
    """Passes of the encoder over a batch that both decoders use; see `ObjectiveConfig.encoder_passes`."""

    def of(self, draw: Draw) -> int:
        """Returns the operations of the forward and backward pass of one batch.

        The backward pass has two products for each one of the forward pass, for the gradients of inputs and of weights.
        """
        source_B = _tokens(draw.source_BS)
        at_source_B, nat_source_B = (source_B if rows is None else source_B[rows] for rows in (draw.at_rows_A, draw.nat_rows_M))
        counts = draw.counts
        passes = self.encoder_passes if counts["at"] and counts["length"] else 1
        forward = (
            passes * self.encoder(source_B)
            + self.at_decoder(at_source_B, _tokens(draw.at_input_AT))
            + self.nat_decoder(nat_source_B, _tokens(draw.nat_input_MT), masked(draw))
            + self.vocabulary(counts["at"] + counts["nat"])
            + self.lengths(counts["length"])
        )
        return 3 * forward

    def encoder(self, source_B: Tensor) -> int:
        """Returns the operations of the forward pass over sources of these lengths, EOS included."""
        width, inner = self.config.width, self.config.feed_forward
        projections = int(source_B.sum()) * (8 * width**2 + 4 * width * inner)
        return self.config.encoder_layers * (projections + _attention(source_B, source_B, width))

    def at_decoder(self, source_B: Tensor, target_B: Tensor) -> int:
        """Returns the operations of the forward pass over targets of these lengths.

        Causal self-attention counts half, since a position attends only to those before it.
        """
        return self.memory(source_B) + self.at_pass(source_B, target_B)

    def nat_decoder(self, source_B: Tensor, target_B: Tensor, read_B: Tensor) -> int:
        """Returns the operations of the forward pass without causality.

        Args:
            read_B: number of positions of each target whose output is read. Only these count in the last layer.
        """
        return self.memory(source_B) + self.nat_pass(source_B, target_B, read_B)

    def memory(self, source_B: Tensor) -> int:
        """Returns the operations of the keys and values of the sources in all layers of one decoder."""
        return self.config.decoder_layers * int(source_B.sum()) * 4 * self.config.width**2

    def at_pass(self, source_B: Tensor, target_B: Tensor) -> int:
        """Returns the operations of `at_decoder` without `memory`."""
        self_attention = _attention(target_B, target_B, self.config.width) // 2
        return self.config.decoder_layers * self._decoder_layer(source_B, target_B, target_B, self_attention)

    def nat_pass(self, source_B: Tensor, target_B: Tensor, read_B: Tensor) -> int:
        """Returns the operations of `nat_decoder` without `memory`."""

        def layer(queries_B: Tensor) -> int:
            return self._decoder_layer(source_B, target_B, queries_B, _attention(queries_B, target_B, self.config.width))

        return (self.config.decoder_layers - 1) * layer(target_B) + layer(read_B)

    def _decoder_layer(self, source_B: Tensor, target_B: Tensor, queries_B: Tensor, self_attention: int) -> int:
        """Returns the operations of one decoder layer without the keys and values of the sources.

        Args:
            queries_B: number of positions of each target that the layer computes. Its keys and values cover all positions.
            self_attention: operations of the self-attention.
        """
        width, inner = self.config.width, self.config.feed_forward
        # For a query: its projection and output projection in self- and cross-attention, and the feed-forward layer.
        of_queries = int(queries_B.sum()) * (8 * width**2 + 4 * width * inner)
        of_keys = int(target_B.sum()) * 4 * width**2
        return of_queries + of_keys + self_attention + _attention(queries_B, source_B, width)

    def vocabulary(self, predictions: int) -> int:
        """Returns the operations of the logits of `predictions` positions."""
        return 2 * self.config.width * self.vocabulary_size * predictions

    def lengths(self, sentences: int) -> int:
        """Returns the operations of the length head."""
        is_offset = self.config.length_prediction == "offset"
        classes = 2 * self.config.max_positions - 1 if is_offset else self.config.max_positions
        return 2 * self.config.width * classes * sentences

    def beam_search(self, source_B: Tensor, steps_B: Tensor, beam: int) -> int:
        """Returns the operations of beam search.

        With cached keys and values, all steps over a hypothesis cost as much as one pass of the decoder over all its positions.

        Args:
            source_B: lengths of the sources with EOS.
            steps_B: number of steps until the search of a source ended. Its beam is assumed full in all of them.
        """
        steps = beam * self.at_pass(source_B, steps_B) + self.vocabulary(beam * int(steps_B.sum()))
        return self.encoder(source_B) + self.memory(source_B) + steps

    def mask_predict(self, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor, config: DecodingConfig) -> int:
        """Returns the operations of mask-predict, including the pass of the AT decoder if it reranks the candidates.

        All candidates of a source count as if they were as long as the chosen one and took as many passes. This is nearly
        exact: candidate lengths are neighbours, and only `stop_unchanged` ends candidates of a source at different passes.

        Args:
            source_B: lengths of the sources with EOS.
            pieces_B: lengths of the chosen candidates without EOS, none of them 0.
            passes_B: number of passes of each source.
        """
        work = self.encoder(source_B) + self.lengths(len(source_B)) + self.memory(source_B)
        for done in range(int(passes_B.max())):
            is_active_B = passes_B > done
            source_A, pieces_A = source_B[is_active_B], pieces_B[is_active_B]
            read_A = Candidates.blank(pieces_A[:, None], config).to_predict(done, config).squeeze(1)
            one = self.nat_pass(source_A, pieces_A + 1, read_A) + self.vocabulary(int(read_A.sum()))
            work += self._candidates(done, config) * one
        if config.rerank == "at":
            one = self.at_pass(source_B, pieces_B + 1) + self.vocabulary(int((pieces_B + 1).sum()))
            work += self.memory(source_B) + self._candidates(config.iterations - 1, config) * one
        return work

    def _candidates(self, done: int, config: DecodingConfig) -> int:
        """Returns the number of candidate lengths of a source after `done` passes."""
        candidates = min(config.length_candidates, self.config.max_positions - 1)
        return min(candidates, config.narrow_to) if 0 < config.narrow_after <= done else candidates


def masked(draw: Draw) -> Tensor:
    """Returns the number of positions of each sentence whose output of the NAT decoder is read."""
    sentences, width = draw.nat_input_MT.shape
    return torch.bincount(draw.nat_positions_N // max(1, width), minlength=sentences)


def padding(draw: Draw) -> tuple[int, int]:
    """Returns the number of padded positions and of all positions, of the source and the inputs of both decoders."""
    rectangles = (draw.source_BS, draw.at_input_AT, draw.nat_input_MT)
    return sum(int((tokens == PAD).sum()) for tokens in rectangles), sum(tokens.numel() for tokens in rectangles)


def _tokens(tokens_BT: Tensor) -> Tensor:
    """Returns the length of each row without padding."""
    return (tokens_BT != PAD).sum(1)


def _attention(queries_B: Tensor, keys_B: Tensor, width: int) -> int:
    """Returns the operations of QKᵀ and of the weighted sum of the values."""
    return 4 * width * int((queries_B * keys_B).sum())
