"""CTC against enumeration of all alignments, against PyTorch's own module, and against cases worked by hand."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from mtnat.decoding import Hypothesis, decode
from mtnat.model import ModelConfig, Translator
from mtnat.model.translator import BranchesOf
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, logit_blocks
from mtnat.systems import AtBranch, Ctc, CtcBranch, CtcDecoding, branch_of, search_of
from mtnat.systems.ctc_loss import ctc_loss_sum
from mtnat.systems.ctc_paths import collapse, prefix_beam_search
from mtnat.tokens import EOS, PAD, SPECIAL

VOCABULARY = 12
A, B = 5, 6
BLANK = 9
NOW = Moment(0, 10, 1)


def build(upsampling: int = 2, vocabulary: int = VOCABULARY, *, with_at: bool = False, std: float = 0.3) -> Translator:
    torch.manual_seed(1)
    model = ModelConfig(
        width=8, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=1, dropout=0.0, norm="pre", max_positions=12
    )
    objective = ObjectiveConfig()

    def branches(tokens: nn.Embedding) -> dict[str, nn.Module]:
        at = {"at": AtBranch(model, objective, tokens)} if with_at else {}
        return {**at, "nat": CtcBranch(Ctc(upsampling=upsampling), model, tokens)}

    made: BranchesOf = branches
    translator = Translator(
        model, source_vocabulary_size=vocabulary, target_vocabulary_size=vocabulary, joint=True, branches=made
    )
    for parameter in translator.parameters():
        nn.init.normal_(parameter, std=std)
    return translator.eval()


def branch_in(translator: Translator) -> CtcBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, CtcBranch)
    return branch


def rows(*sentences: Sequence[int]) -> Tensor:
    width = max(map(len, sentences)) + 1
    return torch.tensor([[*row, EOS, *[PAD] * (width - len(row) - 1)] for row in sentences])


def all_of(noise: Noise) -> Noise:
    return noise.only(torch.ones(noise.sentences, dtype=torch.bool))


def losses(translator: Translator, source: Tensor, target: Tensor) -> dict[str, Loss]:
    branch = branch_in(translator)
    noise = all_of(branch.draw(source, target, NOW, torch.Generator().manual_seed(1)))
    return dict(branch.losses(translator.encode(source), noise, NOW))


def label_log_probabilities(translator: Translator, source: Tensor) -> Tensor:
    """Log-probabilities [B, U, L] of every label by an ordinary softmax; the blank comes last."""
    branch = branch_in(translator)
    states = branch.states(translator.encode(source))
    logits = torch.cat((states @ branch.tokens.weight.T, states @ branch.blank.weight.T), dim=2)
    return logits.log_softmax(2)


def enumerated(log_probabilities_TL: Tensor, target: Sequence[int], blank: int) -> Tensor:
    """−log of the sum over all alignments that collapse to the target; infinite where there is none."""
    positions, labels = log_probabilities_TL.shape
    paths = [
        path for path in itertools.product(range(labels), repeat=positions) if plain_collapse(path, blank) == tuple(target)
    ]
    if not paths:
        return torch.tensor(math.inf)
    return -torch.stack([log_probabilities_TL[range(positions), path].sum() for path in paths]).logsumexp(0)


def plain_collapse(path: Sequence[int], blank: int) -> tuple[int, ...]:
    """Groups of equal labels, without the groups of blanks."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def uniform(states: int) -> Tensor:
    """Equal probabilities for the blank (0), a (1) and b (2)."""
    return torch.full((states, 3), math.log(1 / 3), dtype=torch.float64)


# The loss


@pytest.mark.parametrize(
    ("target", "positions", "loss"),
    [
        ([1, 2], 3, math.log(27 / 5)),
        ([1, 2], 2, math.log(9)),
        ([1, 1], 3, math.log(27)),
        ([1, 1], 2, math.inf),
        ([1], 3, math.log(27 / 6)),
        ([], 2, math.log(9)),
    ],
)
def test_uniform_labels_give_the_losses_worked_by_hand(target: list[int], positions: int, loss: float) -> None:
    """Both by enumeration here, and by the function of PyTorch that the branch uses."""
    assert enumerated(uniform(positions), target, 0).item() == pytest.approx(loss)
    lengths = torch.tensor([positions]), torch.tensor([len(target)])
    found = nn.functional.ctc_loss(
        uniform(positions)[:, None], torch.tensor([target], dtype=torch.long), lengths[0], lengths[1], reduction="none"
    )
    assert found.item() == pytest.approx(loss)


@pytest.mark.parametrize("positions", range(1, 6))
@pytest.mark.parametrize("target", [[1], [1, 2], [1, 1], [1, 2, 1], [1, 1, 2]])
def test_the_number_of_alignments_is_a_binomial_coefficient(positions: int, target: list[int]) -> None:
    repeats = sum(first == second for first, second in itertools.pairwise(target))
    expected = math.comb(max(0, positions + len(target) - repeats), 2 * len(target))
    count = 0 if math.isinf(loss := enumerated(uniform(positions), target, 0).item()) else 3**positions * math.exp(-loss)
    assert count == pytest.approx(expected)


@pytest.mark.parametrize("upsampling", [1, 2])
def test_the_loss_and_its_gradients_are_those_of_all_alignments(upsampling: int) -> None:
    """In double precision, with ragged sources and targets, repeated pieces and one target that cannot be aligned."""
    translator = build(upsampling, vocabulary=7).double()
    source = rows([5, 6], [6], [5, 5]) if upsampling == 2 else rows([5, 6, 5, 5], [6, 6], [5, 6, 6])
    target = rows([A, A, B], [B, A], [A, B, A]) if upsampling == 2 else rows([A, A, B], [A, A, A], [B])
    found = losses(translator, source, target)
    found["nat"].sum.backward()  # type: ignore[no-untyped-call]
    ours = {name: weight.grad for name, weight in translator.named_parameters()}
    translator.zero_grad(set_to_none=True)

    log_probabilities = label_log_probabilities(translator, source)
    expected = torch.zeros((), dtype=torch.float64)
    pieces = 0
    for row, positions in enumerate((upsampling * (source != PAD).sum(1)).tolist()):
        sentence = [token for token in target[row].tolist() if token not in SPECIAL]
        loss = enumerated(log_probabilities[row, :positions], sentence, 7)
        if loss.isfinite():
            expected, pieces = expected + loss, pieces + len(sentence)
    expected.backward()  # type: ignore[no-untyped-call]
    # The log-probabilities are float32 in the loss, whatever the weights are.
    assert found["nat"].sum.item() == pytest.approx(expected.item(), rel=1e-5)
    assert int(found["nat"].count) == pieces
    assert float(found["infeasible"].sum) == (1 if upsampling == 1 else 0)
    for name, weight in translator.named_parameters():
        if weight.grad is not None:
            gradient = ours[name]
            assert gradient is not None
            torch.testing.assert_close(gradient, weight.grad, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_pytorchs_module() -> None:
    translator = build()
    source, target = rows([7, 8, 9, 10], [11, 5], [6, 7, 8]), rows([7, 7, 8], [9], [10, 11, 10, 11, 5])
    lengths, positions = torch.tensor([3, 1, 5]), 2 * (source != PAD).sum(1)
    module = nn.CTCLoss(blank=VOCABULARY, reduction="none")
    expected = module(label_log_probabilities(translator, source).transpose(0, 1), target, positions, lengths)
    found = losses(translator, source, target)
    assert found["nat"].sum.item() == pytest.approx(expected.sum().item(), rel=1e-5)
    assert int(found["nat"].count) == 9


def random_inputs() -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """States, output embeddings and ragged targets of ten sentences, some with neighbouring equal pieces."""
    generator = torch.Generator().manual_seed(3)
    states_BUD = torch.randn(10, 24, 16, generator=generator).requires_grad_()
    weight_LD = torch.randn(41, 16, generator=generator).requires_grad_()
    target_BT = torch.randint(5, 12, (10, 9), generator=generator)
    lengths_B, positions_B = torch.arange(10) % 9, torch.randint(16, 25, (10,), generator=generator)
    return states_BUD, weight_LD, (target_BT, lengths_B, positions_B, torch.ones(10, dtype=torch.bool))


@pytest.mark.parametrize("sentences_at_once", [1, 3, 10])
def test_the_loss_and_its_gradients_are_those_of_pytorchs_loss_over_all_labels(
    sentences_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(logit_blocks._BYTES_AT_ONCE, "cpu", 4 * 41 * 24 * sentences_at_once)
    states, weight, (target, lengths, positions, is_feasible) = random_inputs()
    ours = ctc_loss_sum(states, weight, target, lengths, positions, is_feasible)
    (0.7 * ours).backward()  # type: ignore[no-untyped-call]
    plain_states, plain_weight = (each.detach().double().requires_grad_() for each in random_inputs()[:2])
    log_probabilities = (plain_states @ plain_weight.T).log_softmax(2).transpose(0, 1)
    plain = nn.functional.ctc_loss(log_probabilities, target, positions, lengths, blank=40, reduction="sum")
    (0.7 * plain).backward()  # type: ignore[no-untyped-call]
    assert ours.item() == pytest.approx(plain.item(), rel=1e-6)
    for found, expected in ((states.grad, plain_states.grad), (weight.grad, plain_weight.grad)):
        assert found is not None
        assert expected is not None
        assert (found - expected).abs().max() < 2e-5 * expected.abs().max()


def test_under_autocast_products_are_rounded_and_the_loss_is_float32() -> None:
    states, weight, arguments = random_inputs()
    with torch.autocast("cpu", torch.bfloat16):
        total = ctc_loss_sum(states, weight, *arguments)
    total.backward()  # type: ignore[no-untyped-call]
    exact_states, exact_weight, _ = random_inputs()
    exact = ctc_loss_sum(exact_states, exact_weight, *arguments)
    exact.backward()  # type: ignore[no-untyped-call]
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(exact.item(), rel=0.01)
    for ours, theirs in ((states.grad, exact_states.grad), (weight.grad, exact_weight.grad)):
        assert ours is not None
        assert theirs is not None
        assert 0 < (ours - theirs).norm() < 0.03 * theirs.norm()


def test_without_gradients_the_loss_is_the_same() -> None:
    states, weight, arguments = random_inputs()
    with torch.no_grad():
        total = ctc_loss_sum(states, weight, *arguments)
    assert not total.requires_grad
    torch.testing.assert_close(total, ctc_loss_sum(states, weight, *arguments).detach())


def test_without_sentences_the_loss_and_its_gradients_are_zero() -> None:
    states, weight, arguments = random_inputs()
    total = ctc_loss_sum(states[:0], weight, *(each[:0] for each in arguments))
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0
    assert weight.grad is not None
    assert not weight.grad.any()


def test_a_label_that_is_almost_certain_has_finite_gradients() -> None:
    """The labels that no alignment uses then have a total probability of 0."""
    states, weight, arguments = random_inputs()
    total = ctc_loss_sum(states * 1e3, weight, *arguments)
    total.backward()  # type: ignore[no-untyped-call]
    assert total.isfinite()
    assert states.grad is not None
    assert states.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient")  # a step that float32 resolves
def test_the_gradient_agrees_with_differences() -> None:
    """The states of the decoder are the argument, in steps that float32 resolves."""
    translator = build(vocabulary=8)
    branch = branch_in(translator)
    states_rUD = torch.randn(2, 5, 8)
    weight_LD = torch.cat((branch.tokens.weight, branch.blank.weight)).detach()
    arguments = (rows([A, A], [B, 7, A]), torch.tensor([2, 3]), torch.tensor([5, 4]), torch.tensor([True, True]))

    def loss(states: Tensor) -> Tensor:
        return ctc_loss_sum(states, weight_LD, *arguments)

    torch.autograd.gradcheck(loss, states_rUD.requires_grad_(), eps=1e-2, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    ("target", "source", "is_feasible"),
    [
        ([5, 6, 7, 8], 1, True),  # 2 · (1 + the end) = 4 positions
        ([5, 6, 7, 8, 9], 1, False),
        ([5, 5, 6], 1, True),
        ([5, 5, 6, 6], 1, False),  # needs a blank in each of two places
        ([5, 5, 5], 1, False),
        ([5, 6, 5, 6], 1, True),
    ],
)
def test_a_target_needs_a_position_for_each_piece_and_one_between_equal_neighbours(
    target: list[int], source: int, is_feasible: bool
) -> None:
    translator = build()
    found = losses(translator, rows([7] * source), rows(target))
    assert bool(found["infeasible"].sum) != is_feasible
    assert int(found["infeasible"].count) == 1
    assert int(found["nat"].count) == (len(target) if is_feasible else 0)
    assert (found["nat"].sum.item() > 0) == is_feasible
    found["nat"].sum.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())


def test_an_infeasible_target_counts_nothing_and_leaves_the_others_alone() -> None:
    translator = build()
    source, target = rows([7], [8, 9]), rows([5, 5, 5, 5], [6, 7])
    both, alone = losses(translator, source, target), losses(translator, source[1:], target[1:, :3])
    assert both["nat"].sum.item() == pytest.approx(alone["nat"].sum.item(), rel=1e-5)
    assert int(both["nat"].count) == int(alone["nat"].count) == 2
    assert (float(both["infeasible"].sum), int(both["infeasible"].count)) == (1, 2)
    draw = branch_in(translator).draw(source, target, NOW, torch.Generator())
    assert draw.predictions["nat"].tolist() == [0, 2]


def test_blocks_of_sentences_give_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    translator = build()
    source, target = rows([7, 8, 9], [11], [6, 7], [5, 9]), rows([7, 7], [9, 10, 11, 5, 6], [10], [5, 8])

    def found() -> tuple[float, list[Tensor | None]]:
        translator.zero_grad(set_to_none=True)
        loss = losses(translator, source, target)["nat"].sum
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item(), [None if weight.grad is None else weight.grad.clone() for weight in translator.parameters()]

    whole, gradients = found()
    monkeypatch.setitem(logit_blocks._BYTES_AT_ONCE, "cpu", 1)
    blocks, others = found()
    assert blocks == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(others, gradients, rtol=1e-4, atol=1e-6)


def test_padding_changes_no_loss() -> None:
    translator = build()
    sources, targets = ([7, 8, 9, 10], [11]), ([7, 7], [9, 10])
    together = losses(translator, rows(*sources), rows(*targets))["nat"].sum.item()
    alone = [losses(translator, rows(s), rows(t))["nat"].sum.item() for s, t in zip(sources, targets, strict=True)]
    assert together == pytest.approx(sum(alone), rel=1e-5)


def test_the_states_of_a_token_stand_side_by_side() -> None:
    """Position k·t + i is part i of the split state of source token t."""
    translator = build(upsampling=3)
    branch = branch_in(translator)
    encoded = translator.encode(rows([7, 8]))
    given: list[Tensor] = []
    hook = branch.decoder.stack.register_forward_pre_hook(lambda module, arguments: given.append(arguments[0]))
    branch.states(encoded)
    hook.remove()
    split_BSD = branch.split(encoded.states_BSD) * 8**-0.5
    for token, part in itertools.product(range(3), range(3)):
        torch.testing.assert_close(given[0][0, 3 * token + part], split_BSD[0, token, 8 * part : 8 * (part + 1)])


def test_the_blank_is_no_token_of_the_vocabulary() -> None:
    translator = build()
    branch = branch_in(translator)
    assert branch.tokens.weight.shape[0] == VOCABULARY
    assert branch.blank.weight.shape == (1, 8)
    assert label_log_probabilities(translator, rows([7])).shape[2] == VOCABULARY + 1
    assert not any("tokens" in name for name, _ in branch.named_parameters())


# From labels to pieces


@pytest.mark.parametrize(
    ("labels", "pieces"),
    [
        ([A, BLANK, A], (A, A)),  # to drop blanks first would leave one a
        ([A, A, BLANK, A, B], (A, A, B)),
        ([A, A, A], (A,)),
        ([BLANK, A, BLANK], (A,)),
        ([A, B, BLANK], (A, B)),  # a blank at the end is no piece
        ([BLANK, BLANK], ()),
        ([], ()),
    ],
)
def test_repeats_are_merged_before_blanks_are_dropped(labels: list[int], pieces: tuple[int, ...]) -> None:
    assert collapse(labels, BLANK) == pieces == plain_collapse(labels, BLANK)


def test_the_likeliest_path_is_empty_where_the_likeliest_translation_is_not() -> None:
    """Blank .6 and a .4 at two positions: the path of two blanks has .36, the three that collapse to "a" have .64."""
    scores, blanks = [[math.log(0.4)]] * 2, [math.log(0.6)] * 2
    (first, likeliest), (second, less) = prefix_beam_search([[A]] * 2, scores, blanks, 5)
    assert (first, second) == ((A,), ())
    assert [likeliest, less] == pytest.approx([math.log(0.64), math.log(0.36)])
    [(kept, _)] = prefix_beam_search([[A]], [[math.log(0.4)]], [math.log(0.6)], 1)
    assert kept == ()


@pytest.mark.parametrize("seed", range(5))
def test_prefix_beam_search_that_drops_nothing_is_exact(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probabilities_TL = (2 * torch.randn(4, 3, generator=generator, dtype=torch.float64)).log_softmax(1)
    sums: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(3), repeat=4):
        pieces = plain_collapse(path, 2)
        sums[pieces] = sums.get(pieces, 0.0) + math.exp(float(log_probabilities_TL[range(4), path].sum()))
    expected = sorted(sums.items(), key=lambda item: -item[1])
    found = prefix_beam_search(
        [[0, 1]] * 4, log_probabilities_TL[:, :2].tolist(), log_probabilities_TL[:, 2].tolist(), beam=1_000
    )
    assert [pieces for pieces, _ in found] == [pieces for pieces, _ in expected]
    assert [score for _, score in found] == pytest.approx([math.log(value) for _, value in expected])
    best = prefix_beam_search([[0, 1]] * 4, log_probabilities_TL[:, :2].tolist(), log_probabilities_TL[:, 2].tolist(), beam=3)
    assert len(best) == 3
    assert best[0][0] == expected[0][0]


# The search

SOURCES = ([7, 8, 9, 10], [11], [5, 6], [7, 7, 7, 8, 8, 9])


def found(translator: Translator, decoding: CtcDecoding, n_best: int = 1) -> list[list[Hypothesis]]:
    return decode(translator, SOURCES, decoding, search_of(translator, "nat", decoding), n_best)


def allowed(translator: Translator, source: Sequence[int]) -> Tensor:
    """Log-probabilities of the labels of a source, renormalised without the special tokens; the blank comes last."""
    log_probabilities = label_log_probabilities(translator, rows(source))[0].detach().double()
    log_probabilities[:, list(SPECIAL)] = -math.inf
    return log_probabilities.log_softmax(1)


def test_one_label_a_position_is_the_likeliest_path() -> None:
    translator = build(std=0.6)
    for source, [hypothesis] in zip(SOURCES, found(translator, CtcDecoding()), strict=True):
        best = allowed(translator, source).max(1)
        assert hypothesis.tokens == plain_collapse(best.indices.tolist(), VOCABULARY)
        assert hypothesis.score == pytest.approx(best.values.mean().item(), abs=1e-4)
        assert hypothesis.passes == 1


def test_the_beam_finds_what_the_exhaustive_sums_rank_first() -> None:
    translator = build(upsampling=1, vocabulary=8, std=0.6)
    decoding = CtcDecoding(prefix_beam=500)
    for source in ([5, 6, 7], [7]):
        search = branch_in(translator).search(decoding)
        [best] = decode(translator, [source], decoding, search, 3)
        labels = allowed(translator, source)
        sums: dict[tuple[int, ...], float] = {}
        for path in itertools.product([5, 6, 7, 8], repeat=len(labels)):
            pieces = plain_collapse(path, 8)
            sums[pieces] = sums.get(pieces, 0.0) + math.exp(float(labels[range(len(labels)), path].sum()))
        expected = sorted(sums, key=lambda pieces: -sums[pieces])[:3]
        assert [each.tokens for each in best] == expected
        scores = [math.log(sums[pieces]) / len(labels) for pieces in expected]
        assert [each.score for each in best] == pytest.approx(scores, abs=1e-4)


def test_the_at_decoder_reranks_the_beam_with_the_score_of_beam_search() -> None:
    translator = build(with_at=True, std=0.6)
    plain = found(translator, CtcDecoding(prefix_beam=4), n_best=4)
    reranked = found(translator, CtcDecoding(prefix_beam=4, rerank="at", length_penalty=0.7), n_best=4)
    at = branch_of(translator, "at")
    assert isinstance(at, AtBranch)
    for source, ours, others in zip(SOURCES, reranked, plain, strict=True):
        assert {each.tokens for each in ours} == {each.tokens for each in others}
        assert [each.score for each in ours] == sorted((each.score for each in ours), reverse=True)
        for each in ours:
            pieces = torch.tensor([[2, *each.tokens]])
            logits_TV = at.decoder.logits(translator.encode(rows(source)), pieces)[0].detach()
            logits_TV[:, [token for token in SPECIAL if token != EOS]] = -math.inf
            total = logits_TV.log_softmax(1)[range(len(each.tokens) + 1), [*each.tokens, EOS]].sum().item()
            assert each.score == pytest.approx(total / (len(each.tokens) + 1) ** 0.7, abs=1e-4)
    assert [best[0].tokens for best in reranked] != [best[0].tokens for best in plain]


@pytest.mark.parametrize("prefix_beam", [1, 4])
def test_special_tokens_are_never_predicted(prefix_beam: int) -> None:
    translator = build(std=0.6)
    with torch.no_grad():
        translator.target_tokens.weight[list(SPECIAL)] *= 5
    for best in found(translator, CtcDecoding(prefix_beam=prefix_beam)):
        assert not {*best[0].tokens} & {*SPECIAL}


@pytest.mark.parametrize(("prefix_beam", "rerank"), [(1, "none"), (3, "none"), (3, "at")])
def test_a_translation_may_be_empty(prefix_beam: int, rerank: str) -> None:
    translator = build(with_at=True)
    branch = branch_in(translator)
    with torch.no_grad():
        direction = branch.states(translator.encode(rows(SOURCES[0])))[0].mean(0)
        branch.blank.weight.copy_(1_000 * direction)
        norm = branch.decoder.stack.norm
        assert isinstance(norm, nn.LayerNorm)
        norm.weight.zero_()
        norm.bias.copy_(direction)
    decoding = CtcDecoding.model_validate({"prefix_beam": prefix_beam, "rerank": rerank, "prefix_candidates": 1})
    assert [best[0].tokens for best in found(translator, decoding.model_copy(update={"rerank": "none"}))] == [()] * 4
    assert all(len(best) >= 1 for best in found(translator, decoding))


def test_a_translation_is_no_longer_than_the_model_has_positions() -> None:
    translator = build(upsampling=4, std=0.6)
    decoding = CtcDecoding(prefix_beam=6)
    search = branch_in(translator).search(decoding)
    for source in ([7] * 11, [*range(5, 12), 5, 7, 9, 11]):
        for kind in (search, branch_in(translator).search(CtcDecoding())):
            [best] = decode(translator, [source], decoding, kind, kind.most[1])
            assert all(len(each.tokens) <= 11 for each in best)
            assert len({each.tokens for each in best}) == len(best)
