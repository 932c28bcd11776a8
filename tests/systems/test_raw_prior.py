"""The raw-data prior: its weight, its table, its links and its loss (Ding et al. 2021)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtnat.config import build, replace
from mtnat.data import Dataset, prepare
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.objective import Draw, Moment, MultiTaskObjective
from mtnat.systems import branch_of, raw_prior
from mtnat.systems.mask_predict import LengthBranch
from mtnat.systems.raw_prior import RawPrior, prior_tables, prior_weight
from mtnat.tokens import EOS, MASK, PAD
from mtnat.training import Alone, fit

DEVICE = torch.device("cpu")
START = Moment(0, 1_000, 3)
EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300, "max_length": 64},
        "model": {
            "width": 16,
            "heads": 2,
            "feed_forward": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "dropout": 0.0,
            "max_positions": 64,
        },
        "objective": {"raw_prior": True, "schedule": {"kind": "constant", "value": 0.5}},
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "warmup_steps": 1,
            "log_every": 1,
            "validate_every": 3,
            "valid_sentences": 4,
            "precision": "fp32",
        },
    },
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def dataset(cache: Path) -> Dataset:
    return prepare(EXPERIMENT.data, cache)


# The weight


@pytest.mark.parametrize(
    ("step", "weight"),
    [(0, 1), (74_999, 0.05816), (149_998, 5.6e-7), (149_999, 0), (150_000, 0), (299_999, 0), (400_000, 0)],
)
def test_the_weight_falls_from_1_to_0_in_the_first_half(step: int, weight: float) -> None:
    assert prior_weight(Moment(step, 300_000)) == pytest.approx(weight, abs=5e-6 if weight < 1e-3 else 5e-5)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
def test_the_weight_of_a_short_training_is_between_0_and_1(total: int) -> None:
    weights = [prior_weight(Moment(step, total)) for step in range(total)]
    assert all(0 <= weight <= 1 for weight in weights)
    assert weights == sorted(weights, reverse=True)


# Links


def prior_of(rows: Mapping[int, Mapping[int, float]], null: Mapping[int, float] | None = None, size: int = 12) -> RawPrior:
    """A prior with temperature 1 from p(target piece | source piece), likeliest first."""
    most = max(map(len, rows.values()))
    tokens, p, null_V = torch.zeros(size, most, dtype=torch.int32), torch.zeros(size, most), torch.zeros(size)
    for piece, row in rows.items():
        tokens[piece, : len(row)] = torch.tensor(list(row), dtype=torch.int32)
        p[piece, : len(row)] = torch.tensor(list(row.values()))
    for piece, value in (null or {}).items():
        null_V[piece] = value
    return RawPrior({"tokens": tokens, "probabilities": p, "null": null_V}, 1.0, DEVICE)


ROWS = {5: {8: 0.6, 9: 0.4}, 6: {9: 0.7, 8: 0.2}, 7: {10: 1.0}}


def test_a_piece_is_linked_with_the_source_piece_that_makes_it_likeliest() -> None:
    prior = prior_of(ROWS)
    source, target = torch.tensor([[5, 6, 7, EOS]]), torch.tensor([[9, 8, 10, 11, EOS]])
    assert prior.links(source, target).tolist() == [[6, 5, 7, PAD, PAD]]  # piece 11 is the translation of none
    assert prior.links(source[:, [0, 2, 3]], target).tolist() == [[5, 5, 7, PAD, PAD]]


def test_a_piece_that_null_explains_better_has_no_link() -> None:
    source, target = torch.tensor([[5, 6, EOS]]), torch.tensor([[9, 8, EOS]])
    assert prior_of(ROWS, {8: 0.7, 9: 0.1}).links(source, target).tolist() == [[6, PAD, PAD]]


def test_links_do_not_depend_on_the_other_sentences_of_the_batch() -> None:
    prior = prior_of(ROWS)
    sources = torch.tensor([[5, EOS, PAD, PAD], [5, 6, 7, EOS], [7, 7, EOS, PAD]])
    targets = torch.tensor([[9, 8, EOS, PAD, PAD], [9, 8, 10, 11, EOS], [10, EOS, PAD, PAD, PAD]])
    together = prior.links(sources, targets)
    for row in range(3):
        source, target = sources[row][sources[row] != PAD], targets[row][targets[row] != PAD]
        alone = prior.links(source[None], target[None])[0]
        assert together[row, : len(target)].tolist() == alone.tolist()
        assert not together[row, len(target) :].any()


# The loss


def states_and_weight(positions: int, size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(rows, 8, generator=generator, requires_grad=True) for rows in (positions, size))  # type: ignore[return-value]


def test_the_divergence_from_a_single_translation_is_the_cross_entropy() -> None:
    states, weight = states_and_weight(3)
    links, targets = torch.tensor([7, 7, 7]), torch.tensor([10, 10, 10])
    found = prior_of(ROWS).loss(states, weight, targets, links, 1.0, 0.1)
    torch.testing.assert_close(found, F.cross_entropy(states @ weight.T, targets, reduction="sum"))


def test_the_divergence_from_all_pieces_alike_is_the_label_smoothing_term_minus_ln_v() -> None:
    size = 12
    states, weight = states_and_weight(3, size)
    prior = prior_of({5: dict.fromkeys(range(size), 1 / size)}, size=size)
    found = prior.loss(states, weight, torch.tensor([8, 9, 10]), torch.tensor([5, 5, 5]), 1.0, 0.1)
    smoothing = -F.log_softmax(states @ weight.T, 1).mean(1)
    torch.testing.assert_close(found, (smoothing - math.log(size)).sum())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_is_the_mixture_of_cross_entropy_and_divergence(share: float) -> None:
    """KL(Q || P), not KL(P || Q); a position without a link has the cross-entropy alone."""
    states, weight = states_and_weight(4)
    links, targets = torch.tensor([5, 6, PAD, 7]), torch.tensor([8, 9, 11, 10])
    q = torch.zeros(4, 12)
    q[0, 8], q[0, 9], q[1, 9], q[1, 8], q[3, 10] = 0.6, 0.4, 7 / 9, 2 / 9, 1.0
    log_p = F.log_softmax(states @ weight.T, 1)
    entropy = F.cross_entropy(states @ weight.T, targets, reduction="none", label_smoothing=0.1)
    divergence = F.kl_div(log_p, q, reduction="none").sum(1)
    share_N = torch.tensor([share, share, 0.0, share])
    expected = ((1 - share_N) * entropy + share_N * divergence).sum()
    found = prior_of(ROWS).loss(states, weight, targets, links, share, 0.1)
    torch.testing.assert_close(found, expected)
    theirs = torch.autograd.grad(expected, (states, weight))
    for ours, their in zip(torch.autograd.grad(found, (states, weight)), theirs, strict=True):
        torch.testing.assert_close(ours, their, atol=1e-5, rtol=1e-4)


def test_a_temperature_flattens_the_translations() -> None:
    states, weight = states_and_weight(1)
    tables = {
        "tokens": torch.tensor([[0, 0]] * 5 + [[8, 9]], dtype=torch.int32),
        "probabilities": torch.tensor([[0.0, 0.0]] * 5 + [[0.8, 0.2]]),
        "null": torch.zeros(12),
    }
    found = RawPrior(tables, 2.0, DEVICE).loss(states, weight, torch.tensor([8]), torch.tensor([5]), 1.0, 0.1)
    q = torch.tensor([2 / 3, 1 / 3])  # √0.8 : √0.2 = 2 : 1
    log_p = F.log_softmax(states @ weight.T, 1)[0, [8, 9]]
    torch.testing.assert_close(found, (q * (q.log() - log_p)).sum())


# The table


def test_the_table_keeps_the_likeliest_translations_of_the_raw_text(dataset: Dataset, cache: Path) -> None:
    tables = prior_tables(EXPERIMENT.objective, EXPERIMENT.data, cache)
    assert tables["tokens"].shape == tables["probabilities"].shape == (300, 16)
    assert tables["null"].sum().item() == pytest.approx(1, abs=1e-4)
    few = prior_tables(EXPERIMENT.objective.model_copy(update={"raw_prior_translations": 3}), EXPERIMENT.data, cache)
    for name in ("tokens", "probabilities"):
        assert torch.equal(few[name], tables[name][:, :3])
    p_VK = tables["probabilities"]
    assert (p_VK.diff(dim=1) <= 0).all()
    assert (p_VK.sum(1) <= 1.0001).all()
    assert not p_VK[[PAD, EOS, MASK]].any()
    [dog] = dataset.vocabularies.source.encode(["dog"])
    [hund] = dataset.vocabularies.target.encode(["Hund"])
    assert (dog[-1], hund[-1]) == (dog[0], hund[0]), "both are one piece"
    assert tables["tokens"][dog[0], 0] == hund[0]


def test_the_prior_of_distilled_targets_is_that_of_the_raw_ones(
    dataset: Dataset, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path))
    (tmp_path / "distilled.de").write_text("Der Hund schläft .\n" * 300, encoding="utf-8")
    distilled = EXPERIMENT.data.model_copy(update={"distilled": "distilled.de"})
    assert prepare(distilled, cache).fingerprint != dataset.fingerprint
    raw = prior_tables(EXPERIMENT.objective, EXPERIMENT.data, cache)
    for name, table in prior_tables(EXPERIMENT.objective, distilled, cache).items():
        assert torch.equal(table, raw[name])


def test_a_table_is_estimated_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prior_tables(EXPERIMENT.objective, EXPERIMENT.data, cache)

    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(raw_prior, "translation_table", fail)
    again = prior_tables(EXPERIMENT.objective, EXPERIMENT.data, cache)
    assert all(torch.equal(again[name], table) for name, table in first.items())
    with pytest.raises(AssertionError):
        prior_tables(EXPERIMENT.objective, EXPERIMENT.data.model_copy(update={"corpus_seed": 2}), cache)


def test_a_large_corpus_is_sampled_at_even_spacing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, targets, lengths = raw_prior._pieces(dataset.train)
    assert len(lengths) == len(dataset.train)
    assert (len(sources), len(targets)) == tuple(lengths.sum(0))
    first, last = dataset.train[0], dataset.train[len(dataset.train) - 1]
    assert sources[: lengths[0, 0]].tolist() == first[0][:-1].tolist()
    assert targets[-lengths[-1, 1] :].tolist() == last[1][:-1].tolist()
    assert EOS not in sources
    assert EOS not in targets
    links = int(((lengths[:, 0] + 1) * lengths[:, 1]).sum())
    monkeypatch.setattr(raw_prior, "MOST_LINKS", links // 10)
    _, _, few = raw_prior._pieces(dataset.train)
    assert len(few) == pytest.approx(len(lengths) / 10, abs=1)
    assert few.tolist() == lengths[(torch.arange(len(few)) * len(lengths) // len(few)).numpy()].tolist()


# In training


def objective_of(settings: Mapping[str, Any], dataset: Dataset | None) -> MultiTaskObjective:
    experiment = replace(EXPERIMENT, settings)
    torch.manual_seed(1)
    translator = experiment.translator_of(300, 300, joint=True)
    return experiment.build_objective(translator, dataset).train()


def batch(dataset: Dataset) -> tuple[Tensor, Tensor]:
    pairs = [dataset.train[index] for index in range(6)]
    return tuple(  # type: ignore[return-value]
        torch.nn.utils.rnn.pad_sequence([torch.tensor(pair[side].astype("int64")) for pair in pairs], batch_first=True)
        for side in (0, 1)
    )


def draw_of(objective: MultiTaskObjective, dataset: Dataset, moment: Moment = START) -> Draw:
    return objective.draw(*batch(dataset), moment, torch.Generator().manual_seed(2))


SYSTEMS = [{"system.kind": "mask-predict"}, {"system": {"kind": "glat", "start_ratio": 0.4, "end_ratio": 0.4}}]


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_prior_mixes_into_the_loss_of_the_nat_pieces(system: Mapping[str, Any], dataset: Dataset) -> None:
    objective = objective_of(system, dataset)
    draw = draw_of(objective, dataset)
    source_BS, target_BT = batch(dataset)
    branch = branch_of(objective.translator, "nat")
    assert isinstance(branch, LengthBranch)
    noise = draw.noise["nat"]
    is_linked_BT = noise.tensors["link"] != PAD
    assert 0.5 < is_linked_BT.sum() / (target_BT > EOS).sum() <= 1
    assert not is_linked_BT[target_BT <= EOS].any()
    for row in range(len(source_BS)):
        assert {*noise.tensors["link"][row].tolist()} <= {*source_BS[row].tolist(), PAD}
    encoded = objective.translator.encode(source_BS)
    mixed, plain = (branch.losses(encoded, noise, Moment(step, 1_000, 3))["nat"] for step in (0, 500))
    assert mixed.count == plain.count
    assert mixed.sum.item() != pytest.approx(plain.sum.item(), rel=1e-3)
    without = objective_of({**system, "objective.raw_prior": False}, None)
    other = branch_of(without.translator, "nat").losses(encoded, draw_of(without, dataset).noise["nat"], START)["nat"]
    torch.testing.assert_close(plain.sum, other.sum)


def test_there_are_no_links_after_the_first_half_and_the_other_noise_is_the_same(dataset: Dataset) -> None:
    objective = objective_of({}, dataset)
    early, late = (draw_of(objective, dataset, Moment(step, 1_000)).noise["nat"].tensors for step in (0, 499))
    assert set(early) - set(late) == {"link"}
    assert all(torch.equal(early[name], tensor) for name, tensor in late.items())


@pytest.mark.parametrize("system", SYSTEMS)
def test_micro_batches_add_up(system: Mapping[str, Any], dataset: Dataset) -> None:
    objective = objective_of(system, dataset)
    draw = draw_of(objective, dataset)
    scales = {part: torch.tensor(1.0) for part in objective.parts}

    def sums(part: Draw) -> Tensor:
        torch.manual_seed(START.dropout_seed)
        return objective(part, scales, START)[1]  # type: ignore[no-any-return]

    torch.testing.assert_close(torch.stack([sums(part) for part in draw.split(3)]).sum(0), sums(draw), rtol=1e-5, atol=1e-4)


def test_a_prior_without_its_table_is_not_left_out_silently(dataset: Dataset) -> None:
    objective = objective_of({}, None)
    draw = draw_of(objective, dataset)
    with pytest.raises(AssertionError, match="has no table"):
        objective(draw, {part: torch.tensor(1.0) for part in objective.parts}, START)


def test_a_resumed_run_equals_an_uninterrupted_one(dataset: Dataset, tmp_path: Path) -> None:
    experiment = replace(EXPERIMENT, {"model.dropout": 0.1})
    timed = ("seconds", "per_second")

    def curves(name: str, *, interrupt: bool) -> list[dict[str, float]]:
        points = []
        if interrupt:
            run = fit(experiment, dataset, tmp_path / name, workers=Alone("cpu"))
            points = [next(run) for _ in range(4)][:3]  # the checkpoint is that of step 3
            run.close()
        points += list(fit(experiment, dataset, tmp_path / name, workers=Alone("cpu")))
        return [{key: value for key, value in point.metrics.items() if not key.endswith(timed)} for point in points]

    whole = curves("whole", interrupt=False)
    assert curves("resumed", interrupt=True) == whole


def test_a_system_without_a_position_for_each_piece_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.raw_prior: needs a system whose decoder has a position for each"):
        replace(EXPERIMENT, {"system.kind": "ctc"})
