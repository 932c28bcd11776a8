"""FCL-NAT: its phases, the pace of its curriculum, and what its decoder sees in each phase."""

import math

import pytest
import torch
from copied_translators import BOTH, MODEL, noise_of, rows, translator_of
from torch import Tensor
from torch.nn import functional

from mtnat.config import build
from mtnat.errors import ConfigError
from mtnat.model import TargetDecoder, Translator
from mtnat.objective import Moment, Noise
from mtnat.systems import CopiedSourceBranch, FclNat, FclNatBranch, VanillaNat, branch_of
from mtnat.systems.at import shift_right
from mtnat.tokens import BOS, EOS, PAD

SOURCES = ([5, 6, 7], [8], [9, 10, 11, 5, 6], [7, 7, 8, 9])
TARGETS = ([6, 7, 8, 9, 10], [11], [5, 6], [9, 9, 5])
AT, MIDDLE, NAT = Moment(10, 100, 1), Moment(50, 100, 1), Moment(80, 100, 1)


def branch_in(translator: Translator) -> FclNatBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, FclNatBranch)
    return branch


def states_of(translator: Translator, source: Tensor, target: Tensor, noise: Noise) -> Tensor:
    """The states under the causal mask, with the noise's replaced positions."""
    return branch_in(translator).causal_states(
        translator.encode(source), noise.tensors["lengths"], shift_right(target), noise.tensors["is_replaced"]
    )


# The phases


@pytest.mark.parametrize(
    ("step", "rate"), [(100_000, 0.0), (200_000, 0.4526), (500_000, 0.7009), (1_000_000, 0.8514), (2_090_000, 1.0)]
)
def test_the_logarithmic_pace_has_the_values_of_the_authors_script(step: int, rate: float) -> None:
    """The script's curriculum starts after 100,000 updates, and p is 1 after 199 units of 10,000 updates more."""
    system = FclNat(curriculum_start=100 / 2_200, curriculum_end=2_090 / 2_200)
    assert system.rate(Moment(step, 2_200_000)) == pytest.approx(rate, abs=5e-5)


@pytest.mark.parametrize(
    ("pace", "rates"),
    [
        ("log", [0, math.log(50.75) / math.log(200), math.log(100.5) / math.log(200), 1]),
        ("linear", [0, 0.25, 0.5, 1]),
        ("ladder", [0, 0.2, 0.5, 1]),
        ("inverse-log", [0, 1 - math.log(150.25) / math.log(200), 1 - math.log(100.5) / math.log(200), 1]),
    ],
)
def test_every_pace_leads_from_0_to_1(pace: str, rates: list[float]) -> None:
    system = build(FclNat, {"curriculum_start": 0.2, "curriculum_end": 0.6, "pace": pace})
    assert [system.rate(Moment(step, 100)) for step in (20, 30, 40, 60)] == pytest.approx(rates)
    assert [system.rate(Moment(step, 100)) for step in (0, 19, 61, 100, 200)] == [0, 0, 1, 1, 1]
    rising = [system.rate(Moment(step, 100)) for step in range(101)]
    assert rising == sorted(rising)


def test_the_full_mask_begins_when_everything_is_replaced_and_lasts_to_the_end() -> None:
    """Nothing of the target is then visible. The mask of the authors' script is full while p is 0.45."""
    system = FclNat(curriculum_start=0.1, curriculum_end=0.7)
    for step in range(1_001):
        moment = Moment(step, 1_000)
        assert system.is_causal(moment) == (step < 700)
        assert system.is_causal(moment) or system.rate(moment) == 1
    assert not system.is_causal(Moment(1_000, 1_000))


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.7, 0.3)])
def test_a_curriculum_that_ends_before_it_starts_is_refused(start: float, end: float) -> None:
    with pytest.raises(ConfigError, match=rf"curriculum_start must be below curriculum_end; got {start} and {end}"):
        build(FclNat, {"curriculum_start": start, "curriculum_end": end})


# What the decoder reads


def test_it_is_an_at_decoder_before_the_curriculum() -> None:
    translator = translator_of(FclNat())
    branch = branch_in(translator)
    decoder = TargetDecoder(MODEL, translator.target_tokens, causal=True)
    decoder.stack.load_state_dict(branch.decoder.stack.state_dict())
    noise = noise_of(branch, rows(*SOURCES), rows(*TARGETS), AT)
    assert not noise.tensors["is_replaced"].any()
    found = states_of(translator, rows(*SOURCES), rows(*TARGETS), noise)
    expected = decoder.states(translator.encode(rows(*SOURCES)), shift_right(rows(*TARGETS)))
    is_token = rows(*TARGETS) != PAD
    torch.testing.assert_close(found[is_token], expected[is_token])
    loss = branch.losses(translator.encode(rows(*SOURCES)), noise, AT)
    logits = decoder.vocabulary_logits(expected)[is_token]
    total = functional.cross_entropy(logits, rows(*TARGETS)[is_token], reduction="sum", label_smoothing=0.1)
    assert loss["nat"].sum.item() == pytest.approx(total.item(), rel=1e-5)
    assert loss["nat"].count == sum(len(target) + 1 for target in TARGETS)  # with EOS
    assert loss["replaced"].sum.item() == 0


def test_it_is_the_vanilla_nat_after_the_curriculum() -> None:
    translator, vanilla = translator_of(FclNat()), translator_of(VanillaNat())
    vanilla.load_state_dict(translator.state_dict())
    branch, other = branch_in(translator), branch_of(vanilla, "nat")
    assert isinstance(other, CopiedSourceBranch)
    noise = noise_of(branch, rows(*SOURCES), rows(*TARGETS), NAT)
    expected = noise_of(other, rows(*SOURCES), rows(*TARGETS), NAT)
    encoded = translator.encode(rows(*SOURCES))
    assert torch.equal(branch.target_states(encoded, noise), other.target_states(vanilla.encode(rows(*SOURCES)), expected))
    loss = branch.losses(encoded, noise, NAT)
    assert loss["nat"].sum.item() == pytest.approx(other.losses(encoded, expected, NAT)["nat"].sum.item(), rel=1e-6)
    assert loss["nat"].count == sum(map(len, TARGETS))
    assert loss["replaced"].sum.item() == int(loss["replaced"].count)


def test_after_the_curriculum_the_states_do_not_depend_on_the_target() -> None:
    translator = translator_of(FclNat())
    encoded = translator.encode(rows([5, 6, 7]))
    branch = branch_in(translator)
    states = [
        branch.target_states(encoded, noise_of(branch, rows([5, 6, 7]), rows(target), NAT)) for target in ([8, 9], [10, 11])
    ]
    assert torch.equal(*states)


def test_everything_replaced_under_the_causal_mask_shows_nothing_of_the_target_either() -> None:
    translator = translator_of(FclNat())
    encoded = translator.encode(rows([5, 6, 7]))
    all_replaced, lengths = torch.ones(1, 3, dtype=torch.bool), torch.tensor([2])
    states = [
        branch_in(translator).causal_states(encoded, lengths, shift_right(rows(target)), all_replaced)
        for target in ([8, 9], [10, 11])
    ]
    assert torch.equal(*states)


def test_in_the_curriculum_no_state_depends_on_the_piece_that_it_predicts_or_a_later_one() -> None:
    translator = translator_of(FclNat())
    source, target = rows([5, 6, 7, 8]), rows([6, 7, 8, 9, 10])
    noise = noise_of(branch_in(translator), source, target, MIDDLE, seed=3)
    before = states_of(translator, source, target, noise)
    for place in range(5):
        changed = target.clone()
        changed[0, place] = 11
        after = states_of(translator, source, changed, noise)
        torch.testing.assert_close(after[:, : place + 1], before[:, : place + 1])


def test_the_replaced_positions_read_the_copied_source() -> None:
    """A position reads the copy and not the target if it is replaced: its input is that of the vanilla NAT."""
    translator = translator_of(FclNat())
    branch = branch_in(translator)
    seen: list[Tensor] = []
    branch.decoder.stack.positions.register_forward_hook(lambda module, given, states: seen.append(given[0]))
    source, target = rows([5, 6, 7]), rows([8, 9, 10])
    is_replaced = torch.tensor([[False, True, False, True]])
    branch.causal_states(translator.encode(source), torch.tensor([3]), shift_right(target), is_replaced)
    expected = translator.target_tokens(torch.tensor([[BOS, 6, 9, EOS]]))
    torch.testing.assert_close(seen[0], expected)


# The draws


def test_the_share_of_replaced_positions_is_the_rate_of_the_moment() -> None:
    """Eight positions of each sentence, with EOS. With p = 0.5 there are 4 in half of the sentences, or 4 in all."""
    target = rows([5, 6, 7, 8, 9, 10, 11]).expand(2_000, -1)
    source = rows([5, 6]).expand(2_000, -1)
    for whole_targets, share in ((True, 0.25), (False, 0.5)):
        system = FclNat(curriculum_start=0.0, curriculum_end=0.9, pace="linear", whole_targets=whole_targets)
        branch = branch_in(translator_of(system))
        is_replaced = noise_of(branch, source, target, Moment(45, 100)).tensors["is_replaced"]
        assert set(is_replaced.sum(1).tolist()) == ({0, 4} if whole_targets else {4})
        torch.testing.assert_close(is_replaced.float().mean(0), torch.full((8,), share), rtol=0, atol=0.04)


def test_padding_is_not_replaced() -> None:
    branch = branch_in(translator_of(FclNat(curriculum_start=0.0, whole_targets=False)))
    target = rows(*TARGETS)
    for seed in range(5):
        noise = noise_of(branch, rows(*SOURCES), target, Moment(74, 100), seed)
        assert not noise.tensors["is_replaced"][target == PAD].any()
        assert noise.predictions["nat"].tolist() == [6, 2, 3, 4]


def test_validation_measures_the_nat_phase() -> None:
    """The losses of a split are those at the end of the training."""
    branch = branch_in(translator_of(FclNat(), objective=BOTH))
    noise = noise_of(branch, rows(*SOURCES), rows(*TARGETS), Moment(100, 100))
    assert "input" not in noise.tensors
    assert noise.predictions["nat"].tolist() == [5, 1, 2, 3]


def test_sentences_of_one_piece_have_a_finite_gradient_in_every_phase() -> None:
    for moment in (AT, MIDDLE, NAT):
        translator = translator_of(FclNat())
        branch = branch_in(translator)
        noise = noise_of(branch, rows([5]), rows([6]), moment)
        branch.losses(translator.encode(rows([5])), noise, moment)["nat"].sum.backward()  # type: ignore[no-untyped-call]
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())
