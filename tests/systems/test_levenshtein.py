"""The Levenshtein Transformer against a plain reference: its losses, and its search one sentence at a time."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from test_edit_script import plain_script
from torch import Tensor, nn
from torch.nn import functional

from mtnat.config import build as build_record
from mtnat.decoding import Hypothesis, decode
from mtnat.errors import ConfigError
from mtnat.model import ModelConfig, Translator
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.systems import (
    AtBranch,
    Levenshtein,
    LevenshteinBranch,
    LevenshteinDecoding,
    LevenshteinSearch,
    branch_of,
    search_of,
)
from mtnat.systems.edit_decoder import EditDecoder
from mtnat.systems.levenshtein_search import refine
from mtnat.tokens import BOS, EOS, MASK, PAD, SPECIAL

VOCABULARY = 12
NOW = Moment(0, 10, 1)
SOURCES = ([7, 8, 9, 10], [11], [5, 6], [7, 7, 7, 8, 8, 9])
TARGETS = ([7, 7, 8, 5], [9], [10, 11, 10, 11, 5], [6, 6, 6])


def build(system: Levenshtein | None = None, *, with_at: bool = False, std: float = 0.6, max_positions: int = 24) -> Translator:
    torch.manual_seed(1)
    model = ModelConfig(
        width=8,
        heads=2,
        feed_forward=16,
        encoder_layers=1,
        decoder_layers=2,
        dropout=0.0,
        norm="pre",
        max_positions=max_positions,
    )
    objective = ObjectiveConfig()
    settings = system or Levenshtein(max_placeholders=6)

    def branches(tokens: nn.Embedding) -> dict[str, nn.Module]:
        at = {"at": AtBranch(model, objective, tokens)} if with_at else {}
        return {**at, "nat": LevenshteinBranch(settings, model, objective, tokens)}

    translator = Translator(
        model, source_vocabulary_size=VOCABULARY, target_vocabulary_size=VOCABULARY, joint=True, branches=branches
    )
    for parameter in translator.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
    return translator.eval()


def branch_in(translator: Translator) -> LevenshteinBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, LevenshteinBranch)
    return branch


def rows(*sentences: Sequence[int]) -> Tensor:
    width = max(map(len, sentences)) + 1
    return torch.tensor([[*row, EOS, *[PAD] * (width - len(row) - 1)] for row in sentences])


def noise_of(branch: LevenshteinBranch, targets: Sequence[Sequence[int]] = TARGETS, seed: int = 1) -> Noise:
    target_BT = rows(*targets)
    noise = branch.draw(target_BT, target_BT, NOW, torch.Generator().manual_seed(seed))
    return noise.only(torch.ones(len(targets), dtype=torch.bool))


def without_padding(tokens_T: Tensor) -> list[int]:
    return tokens_T[tokens_T != PAD].tolist()


def counts_of(is_missing: Sequence[bool]) -> list[int]:
    """The number of missing pieces directly before each piece that is left."""
    counts = [0]
    for each in is_missing:
        counts = [*counts[:-1], counts[-1] + 1] if each else [*counts, 0]
    return counts[:-1]


# The random deletions


def test_the_number_of_deleted_pieces_is_uniform_from_one_to_all() -> None:
    branch = branch_in(build())
    left = noise_of(branch, [[5, 6, 7, 8]] * 8_000).tensors["left"]
    counts = Counter((left != PAD).sum(1).tolist())
    assert set(counts) == {1, 2, 3, 4}  # with EOS, which is never deleted
    assert all(abs(count - 2_000) < 200 for count in counts.values())


def test_the_labels_of_a_draw_are_those_of_the_edit_script() -> None:
    branch = branch_in(build())
    for seed in range(20):
        noise = noise_of(branch, seed=seed)
        for row, pieces in enumerate(TARGETS):
            target = [*pieces, EOS]
            left = without_padding(noise.tensors["left"][row])
            is_deleted, is_missing = plain_script(left, target)
            assert not any(is_deleted)
            assert noise.tensors["is_missing"][row, : len(target)].tolist() == is_missing
            masked = [MASK if missing else token for token, missing in zip(target, is_missing, strict=True)]
            assert without_padding(noise.tensors["masked"][row]) == masked
            counts = counts_of(is_missing)
            assert noise.tensors["counts"][row].tolist() == counts + [-100] * (noise.tensors["counts"].shape[1] - len(counts))
            assert [int(noise.predictions[part][row]) for part in branch.parts] == [
                len(left),
                sum(is_missing),
                len(target) + 1,
            ]


def test_insertion_starts_from_an_empty_text_as_often_as_the_setting_says() -> None:
    targets = [[5, 6, 7, 8, 9, 10, 11, 5, 6, 7]] * 4_000
    shares = []
    for from_empty in (0.0, 0.5, 1.0):
        noise = noise_of(branch_in(build(Levenshtein(from_empty=from_empty))), targets)
        shares.append((noise.tensors["left"][:, 0] == EOS).float().mean().item())
    # The random deletion alone leaves nothing of ten pieces in a tenth of the sentences.
    assert shares == [pytest.approx(0.1, abs=0.02), pytest.approx(0.55, abs=0.03), 1.0]


def test_as_many_targets_are_left_whole_as_the_setting_says_and_have_nothing_to_insert() -> None:
    branch = branch_in(build(Levenshtein(from_whole=0.3, from_empty=0.7)))
    noise = noise_of(branch, [[5, 6, 7, 8]] * 4_000)
    is_whole = (noise.tensors["left"] == noise.tensors["target"]).all(1)
    assert is_whole.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(noise.tensors["left"][:, 0] == EOS, ~is_whole)
    assert torch.equal(noise.predictions["tokens"], 4 * ~is_whole)
    assert torch.equal(noise.tensors["counts"][is_whole], torch.zeros_like(noise.tensors["counts"][is_whole]))


def test_a_batch_of_whole_targets_has_no_loss_of_pieces_and_nothing_to_delete() -> None:
    translator = build(Levenshtein(max_placeholders=6, from_whole=0.99))
    noise = noise_of(branch_in(translator))
    assert not noise.tensors["is_missing"].any()
    found = losses(translator, noise)
    assert (found["tokens"].sum.item(), found["tokens"].count, found["deleted"].sum.item()) == (0.0, 0, 0.0)
    torch.stack([found[part].sum for part in branch_in(translator).parts]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())


def test_more_sentences_than_all_cannot_start_from_an_empty_or_a_whole_text() -> None:
    with pytest.raises(ConfigError, match=r"from_empty and from_whole must add up to at most 1; got 0\.6 and 0\.5; lower one"):
        build_record(Levenshtein, {"from_empty": 0.6, "from_whole": 0.5})


def test_a_gap_that_lacks_more_pieces_than_the_head_has_classes_is_labelled_with_the_last_class() -> None:
    branch = branch_in(build(Levenshtein(max_placeholders=3, from_empty=1.0)))
    assert noise_of(branch, [[5, 6, 7, 8, 9], [5, 6]]).tensors["counts"][:, 0].tolist() == [3, 2]
    assert branch.decoder.placeholders.out_features == 4


# The losses


def losses(translator: Translator, noise: Noise, sources: Sequence[Sequence[int]] = SOURCES) -> dict[str, Loss]:
    return dict(branch_in(translator).losses(translator.encode(rows(*sources)), noise, NOW))


def states_of(translator: Translator, source: Sequence[int], tokens: Sequence[int]) -> Tensor:
    """The decoder's states of one text alone, [T, D]."""
    return branch_in(translator).decoder.states(translator.encode(rows(source)), torch.tensor([tokens]))[0]


def plain_pieces(translator: Translator, states: Tensor) -> tuple[list[float], list[int]]:
    """Log-probabilities and ids of the likeliest pieces, special tokens excluded."""
    logits = (states @ translator.target_tokens.weight.T).detach()
    logits[:, list(SPECIAL)] = -torch.inf
    best = logits.log_softmax(1).max(1)
    return best.values.tolist(), best.indices.tolist()


def plain_losses(translator: Translator, source: Sequence[int], target: Sequence[int], left: Sequence[int]) -> dict[str, Any]:
    """The losses of one sentence, each summed over its predictions, with the labels of the plain edit script."""
    decoder, end = branch_in(translator).decoder, [*target, EOS]
    _, is_missing = plain_script(left, end)
    counts = counts_of(is_missing)
    states = states_of(translator, source, [BOS, *left])
    pairs = torch.cat((states[:-1], states[1:]), dim=1)
    logits = pairs @ decoder.placeholders.weight.T + decoder.placeholders.bias
    placeholders = functional.cross_entropy(logits, torch.tensor(counts), reduction="sum", label_smoothing=0.01)

    masked = [MASK if missing else token for token, missing in zip(end, is_missing, strict=True)]
    places = [place for place, missing in enumerate(is_missing, 1) if missing]
    states = states_of(translator, source, [BOS, *masked])[places]
    logits = states @ translator.target_tokens.weight.T
    gold = torch.tensor([end[place - 1] for place in places])
    tokens = functional.cross_entropy(logits, gold, reduction="sum", label_smoothing=0.1)

    filled = [BOS, *masked]
    for place, piece in zip(places, plain_pieces(translator, states)[1], strict=True):
        filled[place] = piece
    is_deleted, _ = plain_script(filled, [BOS, *end])
    logits = states_of(translator, source, filled) @ decoder.deletion.weight.T + decoder.deletion.bias
    deletion = functional.cross_entropy(logits, torch.tensor(is_deleted).long(), reduction="sum")
    sums = {"placeholders": placeholders, "tokens": tokens, "deletion": deletion, "deleted": torch.tensor(sum(is_deleted))}
    counted = {"placeholders": len(counts), "tokens": len(places), "deletion": len(filled), "deleted": len(target)}
    return {name: (sums[name], counted[name]) for name in sums}


@pytest.mark.parametrize("seed", range(4))
def test_the_losses_and_their_gradients_are_those_of_the_plain_reference(seed: int) -> None:
    translator = build().double()
    noise = noise_of(branch_in(translator), seed=seed)
    found = losses(translator, noise)
    plain = [
        plain_losses(translator, source, target, without_padding(left))
        for source, target, left in zip(SOURCES, TARGETS, noise.tensors["left"], strict=True)
    ]
    assert set(found) == {*branch_in(translator).parts, *branch_in(translator).measures}
    for name, loss in found.items():
        assert loss.sum.item() == pytest.approx(sum(each[name][0].item() for each in plain), rel=1e-6)
        assert int(loss.count) == sum(each[name][1] for each in plain)

    parts = branch_in(translator).parts
    gradients = []
    for total in (
        torch.stack([found[part].sum for part in parts]).sum(),
        torch.stack([each[part][0] for each in plain for part in parts]).sum(),
    ):
        translator.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        gradients.append({name: weight.grad for name, weight in translator.named_parameters()})
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, rtol=1e-4, atol=1e-5)


def test_a_perfect_guess_has_nothing_to_delete() -> None:
    """With one piece in the vocabulary every guess is right."""
    translator = build()
    with torch.no_grad():
        translator.target_tokens.weight.zero_()  # the likeliest of equal pieces is the first one
    noise = noise_of(branch_in(translator), [[5, 5, 5], [5]])
    found = losses(translator, noise, SOURCES[:2])
    assert (found["deleted"].sum.item(), int(found["deleted"].count)) == (0.0, 4)
    noise = noise_of(branch_in(translator), [[6, 6, 6], [6]])
    missing = int(noise.tensors["is_missing"].sum())
    assert losses(translator, noise, SOURCES[:2])["deleted"].sum.item() == missing


def test_sampled_pieces_follow_the_probabilities_of_the_model() -> None:
    decoder = branch_in(build()).decoder
    torch.manual_seed(2)
    states_1D = torch.randn(1, 8)
    uniform_M = (torch.arange(1_000) + 0.5) / 1_000
    scores, tokens = decoder.fill(states_1D.expand(1_000, -1), uniform_M)
    logits_V = (states_1D @ decoder.tokens.weight.T).detach()[0]
    logits_V[list(SPECIAL)] = -torch.inf
    counts_V = torch.bincount(tokens, minlength=VOCABULARY)
    torch.testing.assert_close(counts_V / 1_000, logits_V.softmax(0), rtol=0, atol=2e-3)
    torch.testing.assert_close(scores, logits_V.log_softmax(0)[tokens])
    edges = decoder.fill(states_1D.expand(2, -1), torch.tensor([0.0, 1 - 2**-24]))[1].tolist()
    assert edges == [len(SPECIAL), VOCABULARY - 1]


def test_sampled_training_text_differs_from_the_likeliest_and_depends_on_the_draw_alone() -> None:
    likeliest, sampled = (build(Levenshtein(max_placeholders=6, fill=fill)) for fill in ("argmax", "sample"))
    noise = noise_of(branch_in(sampled), seed=3)
    assert torch.equal(noise.tensors["left"], noise_of(branch_in(likeliest), seed=3).tensors["left"])
    found = [losses(sampled, noise)["deletion"].sum.item() for _ in range(2)]
    assert found[0] == found[1] != losses(likeliest, noise_of(branch_in(likeliest), seed=3))["deletion"].sum.item()


def test_the_weights_of_the_three_losses_add_up_to_one() -> None:
    branch = branch_in(build(Levenshtein(placeholder_weight=0.5, deletion_weight=2.5)))
    assert [branch.weight_of(part) for part in ("placeholders", "tokens", "deletion")] == [0.125, 0.25, 0.625]
    assert [branch_in(build()).weight_of(part) for part in branch.parts] == pytest.approx([1 / 3] * 3)


# The search


def found_by(translator: Translator, decoding: LevenshteinDecoding, n_best: int = 1) -> list[list[Hypothesis]]:
    return decode(translator, SOURCES, decoding, search_of(translator, "nat", decoding), n_best)


def plain_fill(translator: Translator, source: Sequence[int], tokens: list[int]) -> tuple[float, int]:
    """Replaces the placeholders in place; returns the log-probability of the pieces and the number of passes."""
    places = [place for place, token in enumerate(tokens) if token == MASK]
    if not places:
        return 0.0, 0
    scores, pieces = plain_pieces(translator, states_of(translator, source, tokens)[places])
    for place, piece in zip(places, pieces, strict=True):
        tokens[place] = piece
    return sum(scores), 1


def plain_search(translator: Translator, source: Sequence[int], config: LevenshteinDecoding, first: int) -> Hypothesis:
    """Edits one candidate alone; the first insertion has `first` placeholders."""
    decoder = branch_in(translator).decoder
    limit = min(2 * len(source) + 10, decoder.most_pieces)
    tokens = [BOS, *[MASK] * first, EOS]
    logits = decoder.placeholder_logits(states_of(translator, source, [BOS, EOS])[None])[0, 0]
    score, passes = plain_fill(translator, source, tokens)
    total, passes = score + logits[1 : limit + 1].log_softmax(0)[first - 1].item(), passes + 1
    for _ in range(1, config.iterations):
        before = list(tokens)
        choices = decoder.deletion_logits(states_of(translator, source, tokens)[None])[0].detach().log_softmax(1).max(1)
        total += sum(choices.values[1:-1].tolist())
        is_deleted = [False, *(choices.indices[1:-1] == 1).tolist(), False]
        tokens = [token for token, deleted in zip(tokens, is_deleted, strict=True) if not deleted]
        passes += 1 + (len(tokens) < len(before))
        logits = decoder.placeholder_logits(states_of(translator, source, tokens)[None])[0].detach()
        logits[:, 0] -= config.placeholder_penalty
        logits[:, limit - len(tokens) + 3 :] = -torch.inf
        if len(tokens) == 2:
            logits[:, 0] = -torch.inf
        longer = [BOS]
        for its_logits, token in zip(logits, tokens[1:], strict=True):
            count = min(int(its_logits.argmax()), limit - len(tokens) + 2 - longer.count(MASK))
            longer += [*[MASK] * count, token]
            total += its_logits.log_softmax(0)[count].item()
        tokens = longer
        score, more = plain_fill(translator, source, tokens)
        total, passes = total + score, passes + more
        if tokens == before:
            break
    return Hypothesis(tuple(tokens[1:-1]), total / (len(tokens) - 2), passes)


def first_lengths(translator: Translator, source: Sequence[int], count: int) -> list[int]:
    """The likeliest numbers of placeholders in an empty text."""
    logits = branch_in(translator).decoder.placeholder_logits(states_of(translator, source, [BOS, EOS])[None])[0, 0]
    return [1 + int(each) for each in logits[1:].argsort(descending=True)[:count]]


@pytest.mark.parametrize(
    ("iterations", "penalty", "std", "candidates"),
    [(1, 0.0, 0.6, 4), (4, 0.0, 0.6, 1), (4, 0.0, 0.9, 3), (8, 1.5, 0.3, 2)],
)
def test_the_search_finds_what_edits_of_one_sentence_at_a_time_find(
    iterations: int, penalty: float, std: float, candidates: int
) -> None:
    translator = build(std=std)
    config = LevenshteinDecoding(iterations=iterations, placeholder_penalty=penalty, length_candidates=candidates)
    changed = False
    for source, best in zip(SOURCES, found_by(translator, config, candidates), strict=True):
        every = [plain_search(translator, source, config, first) for first in first_lengths(translator, source, candidates)]
        expected: dict[tuple[int, ...], Hypothesis] = {}
        for each in sorted(every, key=lambda hypothesis: -hypothesis.score):
            expected.setdefault(each.tokens, each)
        assert [each.tokens for each in best] == [*expected]
        assert [each.passes for each in best] == [each.passes for each in expected.values()]
        assert [each.score for each in best] == pytest.approx([each.score for each in expected.values()], abs=1e-4)
        changed |= any(each.passes > 3 for each in best)
    assert changed == (iterations > 1)


def set_heads(translator: Translator, *, deletes: bool, inserts: int) -> None:
    """Makes the decoder delete all pieces or none, and insert this many placeholders into every gap."""
    decoder = branch_in(translator).decoder
    with torch.no_grad():
        for head in (decoder.deletion, decoder.placeholders):
            head.weight.zero_()
            head.bias.zero_()
        decoder.deletion.bias[int(deletes)] = 1.0
        decoder.placeholders.bias[inserts] = 1.0


def test_a_translation_that_an_iteration_leaves_unchanged_is_finished() -> None:
    """The first iteration has two passes; the second reads the text once and changes nothing."""
    translator = build()
    set_heads(translator, deletes=False, inserts=0)
    with torch.no_grad():
        branch_in(translator).decoder.placeholders.bias[4] = 0.5  # an empty text gets a piece
    encoded = translator.encode(rows(*SOURCES))
    states = [
        each.iterations_R.tolist() for each in refine(branch_in(translator).decoder, encoded, LevenshteinDecoding(iterations=9))
    ]
    assert states == [[1] * 4, [2] * 4]
    for [best] in found_by(translator, LevenshteinDecoding(iterations=9)):
        assert (len(best.tokens), best.passes) == (4, 3)
    assert [best.passes for [best] in found_by(translator, LevenshteinDecoding(iterations=1))] == [2] * 4


def test_a_text_that_is_deleted_and_written_again_is_finished_too() -> None:
    translator = build()
    set_heads(translator, deletes=True, inserts=3)
    for [best] in found_by(translator, LevenshteinDecoding(iterations=9)):
        assert (len(best.tokens), best.passes) == (3, 5)  # 2 in the first iteration, 3 in the second


def test_a_translation_is_never_empty() -> None:
    translator = build()
    set_heads(translator, deletes=True, inserts=0)
    for iterations in (1, 2, 5):
        assert [len(best.tokens) for [best] in found_by(translator, LevenshteinDecoding(iterations=iterations))] == [1] * 4


@pytest.mark.parametrize(("max_positions", "limits"), [(64, [18, 12, 14, 22]), (16, [15, 12, 14, 15])])
def test_all_gaps_together_get_no_more_placeholders_than_there_is_room_for(max_positions: int, limits: list[int]) -> None:
    """At most twice the source and ten more, and as many as the model has positions for."""
    translator = build(max_positions=max_positions)
    set_heads(translator, deletes=False, inserts=5)
    found = found_by(translator, LevenshteinDecoding(iterations=2))
    assert [len(best.tokens) for [best] in found] == limits
    # The first iteration writes 5 pieces; in the second the gaps on the left get theirs first.
    first, second = (found_by(translator, LevenshteinDecoding(iterations=number))[0][0].tokens for number in (1, 2))
    assert second[5] == first[0]
    assert second[-3:] == first[-3:]


def test_a_model_with_few_placeholders_reaches_a_length_in_several_iterations() -> None:
    translator = build(Levenshtein(max_placeholders=1))
    set_heads(translator, deletes=False, inserts=1)
    lengths = [
        len(found_by(translator, LevenshteinDecoding(iterations=iterations))[0][0].tokens) for iterations in (1, 2, 3, 4, 5)
    ]
    assert lengths == [1, 3, 7, 15, 18]


def test_a_penalty_for_inserting_nothing_makes_translations_longer() -> None:
    translator = build(std=0.3)
    lengths = [
        sum(len(best.tokens) for [best] in found_by(translator, LevenshteinDecoding(placeholder_penalty=penalty)))
        for penalty in (0.0, 1.0, 3.0)
    ]
    assert lengths[0] < lengths[-1]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("candidates", [1, 3])
def test_a_translation_does_not_depend_on_its_batch(candidates: int) -> None:
    """Sentences that finish after different numbers of iterations, each in batches of one, of two and of all."""
    translator = build(std=0.7)
    decoding = LevenshteinDecoding(iterations=5, length_candidates=candidates)
    search = branch_in(translator).search(decoding)
    sources = [*SOURCES, [5], [9, 8, 7, 6, 5, 10, 11, 10], [6, 11], [10, 5, 5]]

    def found(some: Sequence[Sequence[int]]) -> list[list[tuple[tuple[int, ...], Any, int]]]:
        every = search(translator.encode(rows(*some)), candidates)
        return [[(each.tokens, pytest.approx(each.score, abs=1e-5), each.passes) for each in best] for best in every]

    together = found(sources)
    assert len({best[0][2] for best in together}) > 2
    for row, source in enumerate(sources):
        assert found([source]) == [together[row]]
        assert row % 3 or found([[7] * 12, source])[1] == together[row]


def test_the_candidates_begin_with_the_likeliest_lengths() -> None:
    translator = build()
    encoded = translator.encode(rows(*SOURCES))
    decoder: EditDecoder = branch_in(translator).decoder
    [found] = refine(decoder, encoded, LevenshteinDecoding(iterations=1, length_candidates=3))
    lengths = ((found.tokens_RW != PAD).sum(1) - 2).view(4, 3).tolist()
    assert lengths == [first_lengths(translator, source, 3) for source in SOURCES]


def test_equal_results_of_several_candidates_are_one_hypothesis() -> None:
    translator = build()
    set_heads(translator, deletes=True, inserts=2)
    found = found_by(translator, LevenshteinDecoding(length_candidates=4), 4)
    assert [[len(each.tokens) for each in best] for best in found] == [[2]] * 4


def test_the_at_decoder_reranks_the_candidates_with_the_score_of_beam_search() -> None:
    translator = build(with_at=True)
    plain = found_by(translator, LevenshteinDecoding(length_candidates=4, iterations=3), n_best=4)
    reranked = found_by(
        translator, LevenshteinDecoding(length_candidates=4, iterations=3, rerank="at", length_penalty=0.7), n_best=4
    )
    at = branch_of(translator, "at")
    assert isinstance(at, AtBranch)
    for source, ours, others in zip(SOURCES, reranked, plain, strict=True):
        assert {each.tokens for each in ours} == {each.tokens for each in others}
        assert [each.score for each in ours] == sorted((each.score for each in ours), reverse=True)
        for each in ours:
            logits_TV = at.decoder.logits(translator.encode(rows(source)), torch.tensor([[BOS, *each.tokens]]))[0].detach()
            logits_TV[:, [token for token in SPECIAL if token != EOS]] = -torch.inf
            total = logits_TV.log_softmax(1)[range(len(each.tokens) + 1), [*each.tokens, EOS]].sum().item()
            assert each.score == pytest.approx(total / (len(each.tokens) + 1) ** 0.7, abs=1e-4)
    assert [best[0].tokens for best in reranked] != [best[0].tokens for best in plain]


def test_one_candidate_has_nothing_to_rerank() -> None:
    with pytest.raises(ConfigError, match="rerank: at needs several translations to choose from; got length_candidates 1;"):
        build_record(LevenshteinDecoding, {"rerank": "at"})


def test_special_tokens_are_never_predicted() -> None:
    translator = build()
    with torch.no_grad():
        translator.target_tokens.weight[list(SPECIAL)] *= 5
    for best in found_by(translator, LevenshteinDecoding(length_candidates=2), 2):
        for each in best:
            assert each.tokens
            assert not {*each.tokens} & {*SPECIAL}


def test_the_search_of_a_branch_has_its_settings() -> None:
    translator = build()
    search = branch_in(translator).search(LevenshteinDecoding(length_candidates=3))
    assert isinstance(search, LevenshteinSearch)
    assert search.most == ("length_candidates", 3)
