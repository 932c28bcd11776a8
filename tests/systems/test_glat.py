"""GLAT against cases worked by hand (Qian et al. 2021, section 3)."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mtnat.config import build as build_record
from mtnat.errors import ConfigError
from mtnat.model import Encoded, Memory, ModelConfig, Translator
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.objective.schedules import Constant
from mtnat.systems import Glat, GlatBranch
from mtnat.tokens import EOS, MASK, PAD

START, END = Moment(0, 100, 3), Moment(100, 100, 3)
SOURCE = torch.tensor([[10, 11, 12, EOS]])
TARGET = torch.tensor([[5, 6, 7, 8, EOS]])
GUESS = [5, 9, 7, 9]
"""What pass 1 predicts for the target 5 6 7 8: d = 2."""


class Guesses(GlatBranch):
    """GLAT whose pass 1 runs, and is then taken to have predicted given tokens."""

    guesses: Sequence[Sequence[int]] = ()

    def _is_wrong(self, memory: Memory, noise: Noise, is_padded: bool) -> Tensor:
        super()._is_wrong(memory, noise, is_padded)
        target_RT = noise.tensors["target"]
        width = target_RT.shape[1]
        guesses_RT = torch.tensor([[*guess, *target_RT[row, len(guess) :].tolist()] for row, guess in enumerate(self.guesses)])
        assert guesses_RT.shape[1] == width
        return guesses_RT != target_RT


def build(system: Glat, guesses: Sequence[Sequence[int]] | None = None, dropout: float = 0.0) -> tuple[Translator, GlatBranch]:
    torch.manual_seed(1)
    model = ModelConfig(
        width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=2, dropout=dropout, max_positions=16
    )
    objective = ObjectiveConfig(schedule=Constant(value=1.0))
    kind = GlatBranch if guesses is None else Guesses
    translator = Translator(
        model,
        source_vocabulary_size=30,
        target_vocabulary_size=30,
        joint=True,
        branches=lambda tokens: {"nat": kind(system, model, objective, tokens)},
    )
    branch = translator.branches["nat"]
    assert isinstance(branch, GlatBranch)
    if isinstance(branch, Guesses) and guesses is not None:
        branch.guesses = guesses
    return translator.train(), branch


def noise_of(branch: GlatBranch, source: Tensor = SOURCE, target: Tensor = TARGET, seed: int = 1) -> Noise:
    noise = branch.draw(source, target, START, torch.Generator().manual_seed(seed))
    return noise.only(torch.ones(len(target), dtype=torch.bool))


def losses(translator: Translator, branch: GlatBranch, noise: Noise, moment: Moment = START) -> dict[str, Loss]:
    return dict(branch.losses(translator.encode(SOURCE.expand(noise.sentences, -1)), noise, moment))


def smoothed_sum(branch: GlatBranch, encoded: Encoded, shown: Sequence[int], target: Tensor = TARGET) -> float:
    """PyTorch's label-smoothed cross-entropy of one sentence's pieces that are not shown."""
    pieces = target.shape[1] - 1
    hidden = [place for place in range(pieces) if place not in shown]
    input_T = torch.tensor([[int(target[0, place]) if place in shown else MASK for place in range(pieces)] + [EOS]])
    logits_BTV = branch.decoder.logits(encoded, input_T)
    return functional.cross_entropy(logits_BTV[0, hidden], target[0, hidden], reduction="sum", label_smoothing=0.1).item()


@pytest.mark.parametrize(
    ("ratio", "guess", "shown"),
    [
        (0.5, GUESS, 1),
        (0.3, GUESS, 0),  # 0.6 is rounded down
        (0.5, [5, 6, 7, 8], 0),
        (0.5, [9, 9, 7, 9], 1),  # 1.5 is rounded down
        (0.5, [9, 9, 9, 9], 2),
        (1.0, GUESS, 2),
        (0.0, [9, 9, 9, 9], 0),
    ],
)
def test_the_number_of_shown_pieces_is_the_ratio_of_the_wrong_ones_rounded_down(
    ratio: float, guess: list[int], shown: int
) -> None:
    translator, branch = build(Glat(start_ratio=ratio, end_ratio=ratio), [guess])
    noise = noise_of(branch)
    found = losses(translator, branch, noise)
    assert found["nat"].count == 4 - shown
    assert (float(found["glanced"].sum), int(found["glanced"].count)) == (shown, 4)
    places = noise.tensors["rank"][0, :4].argsort()[:shown].tolist()
    expected = smoothed_sum(branch, translator.encode(SOURCE), places)
    assert found["nat"].sum.item() == pytest.approx(expected, rel=1e-5)


def test_a_sentence_that_is_shown_whole_has_an_empty_loss_and_no_gradient_that_is_not_a_number() -> None:
    translator, branch = build(Glat(start_ratio=1.0), [[9, 9, 9, 9]])
    found = losses(translator, branch, noise_of(branch))
    assert (found["nat"].sum.item(), found["nat"].count) == (0.0, 0)
    found["nat"].sum.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None or not weight.grad.any() for weight in translator.parameters())


def test_pass_1_is_the_prediction_from_masks_alone() -> None:
    """Without given guesses; the number of wrong pieces is counted from the decoder's likeliest pieces."""
    translator, branch = build(Glat(start_ratio=1.0))
    with torch.no_grad():
        branch.tokens.weight[TARGET[0, 1]] *= 20  # so that some pieces are right
    logits_TV = branch.decoder.logits(translator.encode(SOURCE), torch.tensor([[MASK] * 4 + [EOS]]))[0, :4]
    logits_TV[:, :5] = -torch.inf
    wrong = int((logits_TV.argmax(1) != TARGET[0, :4]).sum())
    assert losses(translator, branch, noise_of(branch))["glanced"].sum.item() == wrong


def test_both_passes_have_the_same_dropout() -> None:
    """Where nothing is shown both passes compute the same states."""
    translator, branch = build(Glat(start_ratio=0.0), dropout=0.4)
    first, second = states_of_both_passes(translator, branch)
    torch.testing.assert_close(first, second)
    assert first.std() > 0.1


def test_both_passes_have_the_same_dropout_where_pieces_are_shown() -> None:
    """With embeddings of zeros the input says nothing, so only dropout could tell the passes apart."""
    translator, branch = build(Glat(start_ratio=0.5), [[9, 9, 9, 9]], dropout=0.4)
    encoded = translator.encode(SOURCE)
    with torch.no_grad():
        branch.tokens.weight.zero_()
    first, second = states_of_both_passes(translator, branch, encoded)
    torch.testing.assert_close(first, second)


def test_the_decoder_drops_other_elements_than_the_encoder() -> None:
    """Compares the dropout of the embeddings."""
    translator, branch = build(Glat(), dropout=0.5)
    kept: list[Tensor] = []
    for positions in (translator.encoder.positions, branch.decoder.stack.positions):
        positions.register_forward_hook(lambda module, given, states: kept.append((states != 0).flatten()))
    torch.manual_seed(START.dropout_seed)
    losses(translator, branch, noise_of(branch))
    encoder, decoder, again = kept
    assert torch.equal(decoder, again)
    both = min(len(encoder), len(decoder))
    assert (encoder[:both] == decoder[:both]).float().mean() < 0.8


def states_of_both_passes(translator: Translator, branch: GlatBranch, encoded: Encoded | None = None) -> list[Tensor]:
    """What the decoder computes for the pieces that pass 2 predicts, in pass 1 and in pass 2."""
    seen: list[Tensor] = []
    noise = noise_of(branch)
    hook = branch.decoder.stack.register_forward_hook(lambda module, given, states: seen.append(states.detach()))
    found = branch.losses(encoded or translator.encode(SOURCE), noise, START)
    hook.remove()
    is_hidden_T = noise.tensors["rank"][0, :4] >= int(found["glanced"].sum)
    return [states if len(states) == is_hidden_T.sum() else states[is_hidden_T] for states in seen]


def test_pass_1_has_no_gradient() -> None:
    translator, branch = build(Glat(start_ratio=0.0))
    found = losses(translator, branch, noise_of(branch))
    found["nat"].sum.backward()  # type: ignore[no-untyped-call]
    ours = [None if weight.grad is None else weight.grad.clone() for weight in translator.parameters()]
    translator.zero_grad(set_to_none=True)
    logits_TV = branch.decoder.logits(translator.encode(SOURCE), torch.tensor([[MASK] * 4 + [EOS]]))[0, :4]
    functional.cross_entropy(logits_TV, TARGET[0, :4], reduction="sum", label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
    for gradient, weight in zip(ours, translator.parameters(), strict=True):
        assert (gradient is None) == (weight.grad is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, weight.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("step", "ratio"), [(0, 0.5), (50, 0.4), (100, 0.3), (250, 0.3)])
def test_the_ratio_falls_linearly_and_stays_at_its_end(step: int, ratio: float) -> None:
    assert Glat().ratio(Moment(step, 100)) == pytest.approx(ratio)


def test_the_ratio_of_the_moment_is_the_one_that_counts() -> None:
    translator, branch = build(Glat(start_ratio=1.0, end_ratio=0.0), [[9, 9, 9, 9]])
    noise = noise_of(branch)
    shown = [losses(translator, branch, noise, Moment(step, 100))["glanced"].sum.item() for step in (0, 49, 50, 100, 200)]
    assert shown == [4, 2, 2, 0, 0]


def test_the_shown_positions_are_uniform_among_all_pieces_right_ones_too() -> None:
    """Two of five pieces: each position in 2/5 of the sentences, each pair in 1/10."""
    _, branch = build(Glat())
    sentences = 20_000
    target_BT = torch.tensor([[5, 6, 7, 8, 9, EOS, PAD]]).expand(sentences, -1)
    noise = noise_of(branch, SOURCE.expand(sentences, -1), target_BT)
    is_shown_BT = noise.tensors["is_piece"] & (noise.tensors["rank"] < 2)
    assert torch.equal(is_shown_BT.sum(1), torch.full((sentences,), 2))
    torch.testing.assert_close(is_shown_BT[:, :5].float().mean(0), torch.full((5,), 0.4), rtol=0, atol=0.02)
    pairs = is_shown_BT[:, :5].float().T @ is_shown_BT[:, :5].float() / sentences
    torch.testing.assert_close(pairs[~torch.eye(5, dtype=torch.bool)], torch.full((20,), 0.1), rtol=0, atol=0.015)
    assert not is_shown_BT[:, 5:].any()


def test_each_sentence_of_a_padded_batch_is_shown_its_own_share() -> None:
    translator, branch = build(Glat(start_ratio=0.5), [GUESS, [9, 9]])
    target_BT = torch.tensor([[5, 6, 7, 8, EOS], [5, 6, EOS, PAD, PAD]])
    noise = noise_of(branch, SOURCE.expand(2, -1), target_BT)
    encoded = translator.encode(SOURCE)
    found = losses(translator, branch, noise)
    assert (found["nat"].count, float(found["glanced"].sum)) == (4, 2)
    shown = [noise.tensors["rank"][row].argsort()[:1].tolist() for row in (0, 1)]
    expected = smoothed_sum(branch, encoded, shown[0]) + smoothed_sum(branch, encoded, shown[1], target_BT[1:, :3])
    assert found["nat"].sum.item() == pytest.approx(expected, rel=1e-5)


def test_the_divisor_is_the_number_of_pieces_and_the_end_has_no_loss() -> None:
    _, branch = build(Glat())
    noise = noise_of(branch)
    assert noise.predictions["nat"].tolist() == [4]
    assert noise.predictions["length"].tolist() == [1]
    assert noise.tensors["input"].tolist() == [[MASK] * 4 + [EOS]]


def test_a_ratio_beyond_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"start_ratio: must be less than or equal to 1; got 1\.5"):
        build_record(Glat, {"start_ratio": 1.5})
