"""What every system promises, as a test class.

The author of a system subclasses `SystemContract` in a test file. pytest then runs its tests on the system alone, beside an
annealed AT branch, and with shared decoder layers::

    from mtnat.decoding import MaskPredictDecoding
    from mtnat.testing.system_contract import SystemContract

    class TestMine(SystemContract):
        system = Mine(rate=0.3)
        decoding = MaskPredictDecoding(iterations=2, length_candidates=3)

The decoding must find at least two hypotheses for a source. The tests that train by way of an experiment file need the
system's package to be installed, because only its entry point makes the system known. Tests that take more than a few seconds
have the marker ``slow``.
"""

# B batch, S source, T target

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace as changed
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtnat.config import build, read_yaml, replace, write_yaml
from mtnat.data import Dataset, prepare
from mtnat.decoding import Decoding, decode
from mtnat.decoding.batching import pad
from mtnat.errors import UserError
from mtnat.experiment import Experiment
from mtnat.model import Translator
from mtnat.model.flops import ModelFlops
from mtnat.objective import Draw, Loss, Moment, MultiTaskObjective, Noise
from mtnat.systems import Branch, System, branch_of, search_of
from mtnat.testing.two_workers import assert_two_workers_equal_one
from mtnat.tokens import PAD, SPECIAL
from mtnat.training import Alone, Model, Progress, fit, load_model, save_model

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "alone": {"objective.schedule": {"kind": "constant", "value": 1.0}},
    "with an AT branch": {"objective.at_fraction": 0.5},
    "with shared layers": {"model.shared_decoder_layers": True},
    "sampled": {"objective.estimator": "sampled", "objective.at_fraction": 0.5},
}
"""How a system is trained; by default beside an AT branch whose weight falls linearly."""
VOCABULARY, MAX_POSITIONS = 30, 24
HALFWAY = Moment(step=50, total_steps=100, dropout_seed=3)
EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300, "max_length": 64},
        "model": {
            "width": 16,
            "heads": 2,
            "feed_forward": 32,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "dropout": 0.0,
            "max_positions": 64,
        },
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "peak_learning_rate": 1e-3,
            "warmup_steps": 2,
            "log_every": 1,
            "validate_every": 2,
            "valid_sentences": 4,
            "precision": "fp32",
        },
    },
)
_SOURCES = ([7, 8, 9, 10, 11], [12, 13, 14], [5, 6, 7, 8, 9, 10, 11], [29], [15, 16, 17, 18], [19, 20, 19, 20, 21, 22])
_TARGETS = ([20, 21, 22, 23], [9, 9, 8], [10, 11, 12, 13, 14, 15], [5, 6, 5, 6, 5, 6], [16], [17, 17, 18, 18, 19, 20])
"""One of these targets is much longer than its source."""


class SystemContract:
    """Tests of one system; see the module's documentation."""

    system: System
    """The system, with any settings."""
    decoding: Decoding
    """A search with its NAT branch."""

    @pytest.fixture(params=list(SETTINGS))
    def settings(self, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        """How the system is trained."""
        return SETTINGS[request.param]

    @pytest.fixture(scope="class")
    @classmethod
    def cache(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of prepared corpora."""
        return tmp_path_factory.mktemp("cache")

    @pytest.fixture(scope="class")
    @classmethod
    def dataset(cls, cache: Path) -> Dataset:
        """The embedded corpus."""
        return prepare(EXPERIMENT.data, cache)

    def experiment(self, settings: Mapping[str, Any]) -> Experiment:
        """A small experiment with the system. It may hold a system that no experiment file can name."""
        return replace(EXPERIMENT, settings).model_copy(update={"system": self.system, "decoding": self.decoding})

    def objective(self, settings: Mapping[str, Any]) -> MultiTaskObjective:
        """Eq. 1 over a new translator, in training mode."""
        experiment = self.experiment({"model.max_positions": MAX_POSITIONS, "data.max_length": MAX_POSITIONS, **settings})
        torch.manual_seed(1)
        return experiment.build_objective(experiment.translator_of(VOCABULARY, VOCABULARY, joint=True)).train()

    # What a branch declares

    def test_the_losses_have_the_names_that_the_branch_declares(self, settings: Mapping[str, Any]) -> None:
        objective = self.objective(settings)
        draw = _draw(objective)
        encoded = objective.translator.encode(draw.source_BS, draw.is_padded)
        for name, branch in _branches(objective).items():
            noise = draw.noise[name]
            if not noise.sentences:
                continue
            losses, heads = branch.losses(encoded, noise, HALFWAY), branch.head_losses(encoded, noise)
            assert set(losses) == {*branch.parts, *branch.measures} - {*branch.head_parts}
            assert set(heads) == {*branch.head_parts}
            assert set(noise.predictions) == {*branch.parts}
            for part, loss in (*losses.items(), *heads.items()):
                assert loss.sum.shape == ()
                assert loss.sum.isfinite()
                if part in branch.parts:
                    rows = slice(None) if noise.rows_R is None or part in heads else noise.rows_R
                    assert 0 < int(loss.count) <= int(noise.predictions[part][rows].sum())
        assert len({*objective.parts, *objective.measures}) == len(objective.parts) + len(objective.measures)

    def test_an_aligned_branch_returns_the_states_of_its_pieces(self, settings: Mapping[str, Any]) -> None:
        """A state at position t must belong to piece t of the target."""
        objective = self.objective(settings)
        draw = _draw(objective)
        _, target_BT = _batch()
        assert (_branches(objective)["nat"].aligned_part is not None) == self.system.is_aligned
        for name, branch in _branches(objective).items():
            noise = draw.noise[name]
            if branch.aligned_part is None or not noise.sentences:
                continue
            loss = branch.losses(objective.translator.encode(draw.source_BS), noise, HALFWAY)[branch.aligned_part]
            assert loss.predictions is not None
            states_ND, positions_N, width = loss.predictions
            assert width == target_BT.shape[1]
            assert len(states_ND) == len(positions_N) == int(loss.count)
            target_RT = target_BT if noise.rows_R is None else target_BT[noise.rows_R]
            assert (target_RT.flatten()[positions_N] != PAD).all()
            assert (positions_N.diff() > 0).all()

    def test_every_parameter_of_the_translator_gets_a_gradient(self, settings: Mapping[str, Any]) -> None:
        objective = self.objective(settings)
        gradients = _gradients(objective, [_draw(objective, seed=seed) for seed in range(4)])  # a sample may leave out a branch
        without = [name for name, gradient in gradients.items() if gradient is None]
        assert without == [], f"no gradient: {without}; no loss reads these, or `Branch.reads` does not list them"

    def test_the_gradients_are_those_of_an_ordinary_backward_pass(self, settings: Mapping[str, Any]) -> None:
        """A parameter that a loss reads, but `Branch.reads` does not list, would lack a part of its gradient."""
        objective = self.objective(settings)
        draw = _draw(objective)
        found = _gradients(objective, [draw])
        objective.zero_grad(set_to_none=True)
        scales, encoded = _scales(objective, draw), objective.translator.encode(draw.source_BS, draw.is_padded)
        losses: dict[str, Loss] = {}
        for name, branch in _branches(objective).items():
            losses |= branch.head_losses(encoded, draw.noise[name])
            if draw.noise[name].sentences:
                losses |= branch.losses(encoded, draw.noise[name], HALFWAY)
        torch.stack([losses[part].sum * scale for part, scale in scales.items() if part in losses]).sum().backward()  # type: ignore[no-untyped-call]
        _assert_close(found, {name: weight.grad for name, weight in objective.translator.named_parameters()})

    def test_the_heads_of_a_branch_see_all_sentences(self, settings: Mapping[str, Any]) -> None:
        objective = self.objective(settings)
        for branch in _branches(objective).values():
            branch.fraction = 0.5
        draw = _draw(objective)
        encoded = objective.translator.encode(draw.source_BS, draw.is_padded)
        for name, branch in _branches(objective).items():
            for part, loss in branch.head_losses(encoded, draw.noise[name]).items():
                assert int(loss.count) == draw.divisors[part]

    def test_half_precision_changes_the_losses_little(self, settings: Mapping[str, Any]) -> None:
        """`Branch.losses` runs under autocast. Sums and softmax need float32."""
        objective = self.objective(settings)
        draw = _draw(objective)
        sums, counts = _sums(objective, [draw])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half, half_counts = _sums(objective, [draw])
            gradients = _gradients(objective, [draw])
        parts = len(objective.parts)  # measures may jump: a rounded score can change a choice
        torch.testing.assert_close((half / half_counts)[:parts], (sums / counts)[:parts], rtol=0.1, atol=0.05, equal_nan=True)
        assert all(gradient.isfinite().all() for gradient in gradients.values() if gradient is not None)

    # Sums over sentences

    @pytest.mark.parametrize("count", [2, 3, len(_SOURCES)])
    def test_the_micro_batches_of_a_batch_add_up_to_it(self, settings: Mapping[str, Any], count: int) -> None:
        objective = self.objective(settings)
        draw = _draw(objective)
        parts = draw.split(count)
        assert len(parts) == count
        sums, counts = _sums(objective, [draw])
        part_sums, part_counts = _sums(objective, parts)
        torch.testing.assert_close(part_sums, sums, rtol=1e-5, atol=1e-4)
        assert torch.equal(part_counts, counts)
        _assert_close(_gradients(objective, parts), _gradients(objective, [draw]))

    def test_padding_changes_no_loss(self, settings: Mapping[str, Any]) -> None:
        """Each sentence of a padded batch has the same loss alone, where its tensors are no wider than it is."""
        objective = self.objective(settings)
        source_BS, target_BT = _batch()
        draw = _draw(objective)
        for row, padded in enumerate(draw.split(len(source_BS))):
            widths = {each.shape[1]: int((each[row] != PAD).sum()) for each in (source_BS, target_BT)}
            alone = changed(
                padded,
                source_BS=padded.source_BS[:, : widths[source_BS.shape[1]]],
                is_padded=False,
                noise={name: _narrowed(noise, widths) for name, noise in padded.noise.items()},
            )
            for ours, others in zip(_sums(objective, [alone]), _sums(objective, [padded]), strict=True):
                torch.testing.assert_close(ours, others, rtol=1e-4, atol=1e-4)

    def test_the_operations_of_a_batch_grow_with_it(self, settings: Mapping[str, Any]) -> None:
        objective = self.objective(settings)
        work = ModelFlops(objective.translator.config, VOCABULARY)
        once, many = (objective.flops(work, _draw(objective, copies=copies)) for copies in (1, 8))
        assert 0 < once < many

    # Random choices

    def test_the_noise_depends_on_the_generator_alone(self, settings: Mapping[str, Any]) -> None:
        objective = self.objective(settings)
        source_BS, target_BT = _batch()
        for branch in _branches(objective).values():
            torch.manual_seed(1)
            state = torch.get_rng_state()
            first = branch.draw(source_BS.clone(), target_BT.clone(), HALFWAY, torch.Generator().manual_seed(5))
            assert torch.equal(torch.get_rng_state(), state), "the noise draws from PyTorch's global generator"
            torch.manual_seed(2)
            source, target = source_BS.clone(), target_BT.clone()
            again = branch.draw(source, target, HALFWAY, torch.Generator().manual_seed(5))
            assert _same(_tensors(first), _tensors(again))
            assert torch.equal(source, source_BS)
            assert torch.equal(target, target_BT)

    def test_the_noise_does_not_depend_on_which_sentences_a_branch_sees(self, settings: Mapping[str, Any]) -> None:
        objective = self.objective(settings)
        source_BS, target_BT = _batch()
        is_seen_B = torch.arange(len(source_BS)) % 2 == 0
        for branch in _branches(objective).values():
            noise = branch.draw(source_BS, target_BT, HALFWAY, torch.Generator().manual_seed(5))
            assert all(len(tensor) == len(source_BS) for tensor in _tensors(noise).values())
            seen = noise.only(is_seen_B)
            for ours, whole in ((seen.tensors, noise.tensors), (seen.host_tensors, noise.host_tensors)):
                assert _same(ours, {name: tensor[is_seen_B] for name, tensor in whole.items()})
            halves = noise.only(torch.ones_like(is_seen_B)).between(0, 2), noise.between(2, len(source_BS))
            parts = [_tensors(half) for half in halves]
            joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            assert _same(joined, _tensors(noise))

    def test_the_nat_branch_draws_the_same_beside_any_other(self) -> None:
        alone, *others = (
            _draw(self.objective(settings)).noise["nat"] for name, settings in SETTINGS.items() if name != "sampled"
        )
        for noise in others:
            assert _same(_tensors(noise), _tensors(alone))

    # Search

    def translator(self, settings: Mapping[str, Any]) -> Translator:
        """A translator with weights so large that its translations differ, in training mode."""
        translator = self.objective(settings).translator
        for parameter in translator.parameters():
            nn.init.normal_(parameter, std=0.4)
        return translator

    def translations(
        self, translator: Translator, sources: Sequence[Sequence[int]], n_best: int = 1
    ) -> list[list[tuple[tuple[int, ...], Any, int]]]:
        """Tokens, score and passes of the best hypotheses of each source, by the NAT branch."""
        search = branch_of(translator, "nat").search(self.decoding)
        found = decode(translator, sources, self.decoding, search, n_best)
        return [[(each.tokens, _nearly(each.score), each.passes) for each in best] for best in found]

    def test_a_translation_does_not_depend_on_its_batch(self, settings: Mapping[str, Any]) -> None:
        translator = self.translator(settings)
        together = self.translations(translator, _SOURCES, n_best=2)
        assert together == [self.translations(translator, [source], n_best=2)[0] for source in _SOURCES]
        assert self.translations(translator, _SOURCES[::-1], n_best=2) == together[::-1]
        assert translator.training

    def test_the_best_hypotheses_are_distinct_and_the_best_comes_first(self, settings: Mapping[str, Any]) -> None:
        translator = self.translator(settings)
        search = branch_of(translator, "nat").search(self.decoding)
        _, most = search.most
        assert most > 1, "give the contract a decoding with at least two hypotheses"
        longest = [5 + number % 20 for number in range(MAX_POSITIONS - 1)]
        found = decode(translator, [*_SOURCES, longest], self.decoding, search, most)
        assert max(map(len, found)) > 1
        for best, first in zip(found, self.translations(translator, [*_SOURCES, longest]), strict=True):
            assert 1 <= len(best) <= most
            assert len({each.tokens for each in best}) == len(best)
            assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)
            assert [best[0].tokens] == [tokens for tokens, _, _ in first]
            for each in best:
                assert not {*each.tokens} & {*SPECIAL}
                assert len(each.tokens) < MAX_POSITIONS
                assert all(type(token) is int for token in each.tokens)
                assert each.passes > 0

    def test_more_hypotheses_than_the_search_has_are_refused(self) -> None:
        translator = self.translator({})
        search = branch_of(translator, "nat").search(self.decoding)
        setting, most = search.most
        assert getattr(self.decoding, setting) == most
        with pytest.raises(UserError, match=rf"^n_best: must be at least 1 and at most {setting}, {most}; got {most + 1}\.$"):
            decode(translator, _SOURCES, self.decoding, search, most + 1)

    def test_the_at_decoder_reranks_its_translations(self) -> None:
        translator = self.translator({})
        plain = search_of(translator, "nat", self.decoding)
        reranked = search_of(translator, "nat", self.decoding.model_copy(update={"rerank": "at"}))
        _, most = plain.most
        for ours, others in zip(
            *(decode(translator, _SOURCES, self.decoding, each, most) for each in (plain, reranked)), strict=True
        ):
            assert {each.tokens for each in ours} == {each.tokens for each in others}
            scores = [each.score for each in others]
            assert scores == sorted(scores, reverse=True)
            assert all(map(math.isfinite, scores))

    def test_the_at_decoder_replaces_translations_with_low_scores(self) -> None:
        translator = self.translator({})
        nat, at = (search_of(translator, "nat", self.decoding), search_of(translator, "at", self.decoding))
        none, every = (
            search_of(translator, "nat", self.decoding.model_copy(update={"fallback_below": score})) for score in (-1e9, 1e9)
        )
        for with_fallback, plain in ((none, nat), (every, at)):
            found, expected = (decode(translator, _SOURCES, self.decoding, search) for search in (with_fallback, plain))
            assert [best[0].tokens for best in found] == [best[0].tokens for best in expected]

    def test_an_empty_source_has_an_empty_translation(self, settings: Mapping[str, Any]) -> None:
        translator = self.translator(settings)
        empty, filled = self.translations(translator, [[], [7, 8]])
        assert [tokens for tokens, _, _ in empty] == [()]
        assert len(filled) == 1

    def test_the_operations_of_a_search_grow_with_the_batch(self) -> None:
        translator = self.translator({})
        search = branch_of(translator, "nat").search(self.decoding)
        work = ModelFlops(translator.config, VOCABULARY)
        lengths_B, ones_B = torch.tensor([5, 3, 7]), torch.ones(3, dtype=torch.long)
        once = search.flops(work, lengths_B, lengths_B - 1, ones_B)
        assert 0 < search.flops(work, lengths_B[:2], lengths_B[:2] - 1, ones_B[:2]) < once
        assert search.copies >= 1

    # Training

    def test_an_experiment_file_can_name_it(self, tmp_path: Path) -> None:
        experiment = self.experiment({})
        (tmp_path / "experiment.yaml").write_text(write_yaml(experiment), encoding="utf-8")
        assert build(Experiment, read_yaml(tmp_path / "experiment.yaml")) == experiment

    def test_a_saved_model_translates_as_before(self, settings: Mapping[str, Any], dataset: Dataset, tmp_path: Path) -> None:
        experiment = self.experiment(settings)
        translator = experiment.build_translator(dataset.vocabularies)
        for parameter in translator.parameters():
            nn.init.normal_(parameter, std=0.4)
        model = Model(experiment, translator.eval(), dataset.vocabularies)
        save_model(model, tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        assert loaded.experiment == experiment
        assert loaded.translate(dataset.valid.sources[:4], n_best=2) == model.translate(dataset.valid.sources[:4], n_best=2)

    def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(self, dataset: Dataset, tmp_path: Path) -> None:
        experiment = self.experiment({"model.dropout": 0.1, **SETTINGS["sampled"]})
        whole = list(fit(experiment, dataset, tmp_path / "whole", workers=Alone("cpu")))
        interrupted = fit(experiment, dataset, tmp_path / "resumed", workers=Alone("cpu"))
        before = [next(interrupted) for _ in range(3)]
        interrupted.close()
        torch.manual_seed(99)
        after = list(fit(experiment, dataset, tmp_path / "resumed", workers=Alone("cpu")))
        assert after[0].step == 3
        assert _curves([*before[:2], *after]) == _curves(whole)
        assert _same(_weights(tmp_path / "resumed"), _weights(tmp_path / "whole"))

    @pytest.mark.parametrize(
        "related",
        [{"objective.raw_prior": True, "objective.interaction": "at-to-nat"}, {"model.shared_decoder": True}],
        ids=["raw prior and interaction", "shared decoder"],
    )
    def test_an_aligned_system_trains_with_settings_that_relate_both_decoders(
        self, related: Mapping[str, Any], dataset: Dataset, tmp_path: Path
    ) -> None:
        if not self.system.is_aligned:
            pytest.skip("needs a system whose NAT decoder has a state for each target piece")
        *_, last = fit(self.experiment(related), dataset, tmp_path, workers=Alone("cpu"))
        assert "final/valid_bleu" in last.metrics

    @pytest.mark.slow
    def test_two_workers_equal_one(self, cache: Path, tmp_path: Path) -> None:
        shared = {"model.dropout": 0.1, "training.batches_per_step": 2}
        experiment = self.experiment({**shared, **SETTINGS["with an AT branch"]})
        assert_two_workers_equal_one({"run": experiment}, cache, tmp_path)

    copy_updates = 100
    """Updates in which the system learns to copy a source; a system that learns slowly may take more."""

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["alone", "with an AT branch"])
    def test_it_learns_to_copy(self, name: str) -> None:
        objective = self.objective({"model.width": 64, "model.feed_forward": 128, "model.norm": "pre", **SETTINGS[name]})
        optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
        generator = torch.Generator().manual_seed(1)
        for step in range(self.copy_updates):
            rows_BS = _random_rows(generator, 32)
            moment = Moment(step, self.copy_updates, step)
            draw = objective.draw(rows_BS, rows_BS.clone(), moment, generator)
            optimizer.zero_grad()
            torch.manual_seed(step)
            total, _, _ = objective(draw, _scales(objective, draw, moment), moment)
            total.backward()
            optimizer.step()
        sources = [[token for token in row if token not in SPECIAL] for row in _random_rows(generator, 50).tolist()]
        found = self.translations(objective.translator, sources)
        copied = sum(list(best[0][0]) == source for best, source in zip(found, sources, strict=True))
        assert copied >= 40


def _batch() -> tuple[Tensor, Tensor]:
    """Sources [B, S] and targets [B, T], S ≠ T."""
    return _padded(_SOURCES), _padded(_TARGETS)


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    return pad(rows, torch.device("cpu"))


def _random_rows(generator: torch.Generator, sentences: int) -> Tensor:
    """Rows of 2 to 5 random pieces without two equal neighbours."""
    rows = []
    for _ in range(sentences):
        length = int(torch.randint(2, 6, (), generator=generator))
        rows.append((torch.randperm(VOCABULARY - len(SPECIAL), generator=generator)[:length] + len(SPECIAL)).tolist())
    return _padded(rows)


def _draw(objective: MultiTaskObjective, *, copies: int = 1, seed: int = 7) -> Draw:
    """The batch, or some copies of it as one batch, with noise."""
    source_BS, target_BT = (tokens.repeat(copies, 1) for tokens in _batch())
    return objective.draw(source_BS, target_BT, HALFWAY, torch.Generator().manual_seed(seed))


def _branches(objective: MultiTaskObjective) -> dict[str, Branch]:
    return {name: branch_of(objective.translator, name) for name in objective.branches}


def _scales(objective: MultiTaskObjective, draw: Draw, moment: Moment = HALFWAY) -> dict[str, Tensor]:
    weights = objective.weights_at(moment.step, moment.total_steps)
    return {part: torch.tensor(weight / max(1.0, draw.divisors[part])) for part, weight in weights.items()}


def _sums(objective: MultiTaskObjective, draws: Sequence[Draw]) -> tuple[Tensor, Tensor]:
    """Sums and counts of the parts and measures over some draws."""
    found = []
    for draw in draws:
        torch.manual_seed(HALFWAY.dropout_seed)
        _, *sums = objective(draw, _scales(objective, draw), HALFWAY)
        found.append(torch.stack(sums))
    sums_Q, counts_Q = torch.stack(found).sum(0)
    return sums_Q, counts_Q


def _gradients(objective: MultiTaskObjective, draws: Sequence[Draw]) -> dict[str, Tensor | None]:
    """Gradients of the total over some draws, by parameter."""
    objective.zero_grad(set_to_none=True)
    for draw in draws:
        total, _, _ = objective(draw, _scales(objective, draw), HALFWAY)
        total.backward()
    return {
        name: None if weight.grad is None else weight.grad.clone() for name, weight in objective.translator.named_parameters()
    }


def _nearly(score: float) -> Any:
    """Returns what equals a score that differs by rounding only."""
    return pytest.approx(score, rel=1e-4, abs=1e-5)


def _named(name: str, text: str) -> str:
    return f"{name}: {text}"


def _assert_close(ours: Mapping[str, Tensor | None], others: Mapping[str, Tensor | None]) -> None:
    assert ours.keys() == others.keys()
    for name, gradient in others.items():
        our = ours[name]
        assert (our is None) == (gradient is None), f"{name}: one of two gradients is missing"
        torch.testing.assert_close(our, gradient, rtol=1e-4, atol=1e-5, msg=partial(_named, name))


def _narrowed(noise: Noise, widths: Mapping[int, int]) -> Noise:
    """The noise of one sentence; tensors as wide as the padded source or target are cut to its own length."""

    def cut(tensor: Tensor) -> Tensor:
        return tensor[:, : widths.get(tensor.shape[1], tensor.shape[1])] if tensor.ndim > 1 else tensor

    tensors = {name: cut(tensor) for name, tensor in noise.tensors.items()}
    heads = {name: cut(tensor) for name, tensor in noise.head_tensors.items()}
    return changed(noise, tensors=tensors, head_tensors=heads).only(torch.ones(1, dtype=torch.bool))


def _tensors(noise: Noise) -> dict[str, Tensor]:
    groups = {"": noise.tensors, "head ": noise.head_tensors, "host ": noise.host_tensors, "predictions of ": noise.predictions}
    return {f"{group}{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def _same(ours: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return ours.keys() == others.keys() and all(torch.equal(ours[name], others[name]) for name in ours)


def _curves(points: Sequence[Progress]) -> list[tuple[int, dict[str, float]]]:
    """The points without what depends on the clock."""
    timed = ("seconds", "per_second")
    return [(point.step, {k: v for k, v in point.metrics.items() if not k.endswith(timed)}) for point in points]


def _weights(run: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(run / "model" / "weights.pt")
    return weights
