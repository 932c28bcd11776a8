"""What the model itself has to compute, in floating-point operations: matrix products over real tokens, nothing else.

A multiply-add is 2. Padding, normalisation, softmax, dropout, embeddings and the optimizer count nothing, and neither does what
no loss reads, whether it is computed or not. So work over time, divided by the peak, says how well a program uses a machine.
"""

# B sentences, A those still refined

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
    """A translator's work as a function of lengths."""

    config: ModelConfig
    vocabulary_size: int
    encoder_passes: int = 1
    """Where both decoders see a batch; see `ObjectiveConfig.encoder_passes`."""

    def of(self, draw: Draw) -> int:
        """Forward and backward pass of one batch; the backward pass multiplies twice as much."""
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
        """The forward pass over sources of these lengths, EOS included."""
        width, inner = self.config.width, self.config.feed_forward
        projections = int(source_B.sum()) * (8 * width**2 + 4 * width * inner)
        return self.config.encoder_layers * (projections + _attention(source_B, source_B, width))

    def at_decoder(self, source_B: Tensor, target_B: Tensor) -> int:
        """The forward pass over targets of these lengths; of attention to themselves the half that can be seen."""
        return self.memory(source_B) + self.at_pass(source_B, target_B)

    def nat_decoder(self, source_B: Tensor, target_B: Tensor, read_B: Tensor) -> int:
        """The same without causality; of the last layer only as many positions as are read, which all see the whole target."""
        return self.memory(source_B) + self.nat_pass(source_B, target_B, read_B)

    def memory(self, source_B: Tensor) -> int:
        """The keys and values of the sources in every layer of one decoder."""
        return self.config.decoder_layers * int(source_B.sum()) * 4 * self.config.width**2

    def at_pass(self, source_B: Tensor, target_B: Tensor) -> int:
        """`at_decoder` without the memory."""
        to_itself = _attention(target_B, target_B, self.config.width) // 2
        return self.config.decoder_layers * self._decoder_layer(source_B, target_B, target_B, to_itself)

    def nat_pass(self, source_B: Tensor, target_B: Tensor, read_B: Tensor) -> int:
        """`nat_decoder` without the memory."""

        def layer(asking_B: Tensor) -> int:
            return self._decoder_layer(source_B, target_B, asking_B, _attention(asking_B, target_B, self.config.width))

        return (self.config.decoder_layers - 1) * layer(target_B) + layer(read_B)

    def _decoder_layer(self, source_B: Tensor, target_B: Tensor, asking_B: Tensor, to_itself: int) -> int:
        """Queries, outputs and feed-forward of the positions that ask; keys and values of all positions of the target."""
        width, inner = self.config.width, self.config.feed_forward
        asking = int(asking_B.sum()) * (8 * width**2 + 4 * width * inner)
        asked = int(target_B.sum()) * 4 * width**2
        return asking + asked + to_itself + _attention(asking_B, source_B, width)

    def vocabulary(self, predictions: int) -> int:
        """Logits where there is a loss."""
        return 2 * self.config.width * self.vocabulary_size * predictions

    def lengths(self, sentences: int) -> int:
        """The length head."""
        is_offset = self.config.length_prediction == "offset"
        classes = 2 * self.config.max_positions - 1 if is_offset else self.config.max_positions
        return 2 * self.config.width * classes * sentences

    def beam_search(self, source_B: Tensor, steps_B: Tensor, beam: int) -> int:
        """The AT decoder's search: a step computes of each hypothesis what one pass over all of them would at that position.

        Args:
            source_B: lengths with EOS.
            steps_B: steps until a source was done, in all of which its beam is full.
        """
        steps = beam * self.at_pass(source_B, steps_B) + self.vocabulary(beam * int(steps_B.sum()))
        return self.encoder(source_B) + self.memory(source_B) + steps

    def mask_predict(self, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor, config: DecodingConfig) -> int:
        """The NAT decoder's search, and the AT decoder's pass over its candidates where that reranks.

        All candidates of a source count as if they were as long as the winner and took as many passes, which is nearly so:
        lengths tried are neighbours, and only `stop_unchanged` ends candidates of a source at different times.

        Args:
            source_B: lengths with EOS.
            pieces_B: lengths of the winners without EOS, none of them 0.
        """
        work = self.encoder(source_B) + self.lengths(len(source_B)) + self.memory(source_B)
        for done in range(int(passes_B.max())):
            goes_on_B = passes_B > done
            source_A, pieces_A = source_B[goes_on_B], pieces_B[goes_on_B]
            read_A = Candidates.blank(pieces_A[:, None], config).to_predict(done, config).squeeze(1)
            one = self.nat_pass(source_A, pieces_A + 1, read_A) + self.vocabulary(int(read_A.sum()))
            work += self._candidates(done, config) * one
        if config.rerank == "at":
            one = self.at_pass(source_B, pieces_B + 1) + self.vocabulary(int((pieces_B + 1).sum()))
            work += self.memory(source_B) + self._candidates(config.iterations - 1, config) * one
        return work

    def _candidates(self, done: int, config: DecodingConfig) -> int:
        """Lengths of a source that are still tried after so many passes."""
        candidates = min(config.length_candidates, self.config.max_positions - 1)
        return min(candidates, config.narrow_to) if 0 < config.narrow_after <= done else candidates


def masked(draw: Draw) -> Tensor:
    """How many positions of each of the NAT decoder's sentences are read."""
    sentences, width = draw.nat_input_MT.shape
    return torch.bincount(draw.nat_positions_N // max(1, width), minlength=sentences)


def padding(draw: Draw) -> tuple[int, int]:
    """Of the positions of the source and of both decoders' inputs: those that hold PAD, and all."""
    rectangles = (draw.source_BS, draw.at_input_AT, draw.nat_input_MT)
    return sum(int((tokens == PAD).sum()) for tokens in rectangles), sum(tokens.numel() for tokens in rectangles)


def _tokens(tokens_BT: Tensor) -> Tensor:
    """The length of each row without its padding."""
    return (tokens_BT != PAD).sum(1)


def _attention(queries_B: Tensor, keys_B: Tensor, width: int) -> int:
    """QKᵀ and the weighted sum of the values."""
    return 4 * width * int((queries_B * keys_B).sum())
