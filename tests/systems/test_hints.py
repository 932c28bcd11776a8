"""Hint-based training: both hints on cases worked by hand, and the frozen teacher."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from copied_translators import MODEL, NOW, VOCABULARY, noise_of, objective_of, rows, translator_of
from teachers import EXPERIMENT, dataset, saved_teacher, teacher_of
from torch import Tensor
from torch.nn import functional

from mtnat.config import build, replace
from mtnat.errors import ConfigError, ModelError
from mtnat.experiment import Experiment
from mtnat.model import ModelConfig, Tap, Translator
from mtnat.model.flops import ModelFlops
from mtnat.model.layers import DecoderLayer
from mtnat.objective import Loss, ObjectiveConfig
from mtnat.objective.schedules import Constant
from mtnat.systems import AtBranch, HintNat, HintNatBranch, MaskPredict, branch_of
from mtnat.systems.at import shift_right
from mtnat.systems.hints import alignment_hints, hidden_hints
from mtnat.tokens import BOS
from mtnat.training import Alone, fit
from mtnat.training.teacher import stand_in_teacher

SOURCES = ([5, 6, 7], [8], [9, 10, 11, 5, 6])
TARGETS = ([6, 7, 7, 9, 10], [11, 5], [5])


def branch_in(translator: Translator) -> HintNatBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, HintNatBranch)
    return branch


def taught(system: HintNat | None = None, model: ModelConfig = MODEL, teacher: Translator | None = None) -> Translator:
    translator = translator_of(system or HintNat(), model)
    branch_in(translator).use_teacher(teacher or teacher_of())
    return translator


def losses(translator: Translator) -> dict[str, Loss]:
    branch = branch_in(translator)
    noise = noise_of(branch, rows(*SOURCES), rows(*TARGETS))
    return dict(branch.losses(translator.encode(rows(*SOURCES)), noise, NOW))


def pair(cosine: float) -> Tensor:
    """Two states with a cosine, as one sentence, [1, 2, D]."""
    return torch.tensor([[[2.0, 0.0], [3 * cosine, 3 * math.sqrt(1 - cosine**2)]]])


# Hints from hidden states

BOTH_PIECES = torch.tensor([[True, True]])


@pytest.mark.parametrize(
    ("student", "teacher", "cost"),
    [
        (0.5, 0.2, math.log(2)),
        (0.5, 0.95, 0.0),  # the teacher's states are similar too
        (0.05, 0.2, 0.0),  # the student's are different already
        (0.9, -1.0, math.log(10)),
        (1.0, 0.0, math.log(1e6)),  # bounded
    ],
)
def test_a_pair_of_states_costs_what_was_worked_out_by_hand(student: float, teacher: float, cost: float) -> None:
    found = hidden_hints([pair(student)], [pair(teacher)], BOTH_PIECES, 0.1, 0.9)
    assert found.tolist() == [pytest.approx(cost, rel=1e-4, abs=1e-6)]


def test_hidden_hints_are_the_mean_over_layers_and_pairs_of_pieces() -> None:
    generator = torch.Generator().manual_seed(1)
    students, teachers = ([torch.randn(3, 5, width, generator=generator) for _ in range(2)] for width in (4, 6))
    pieces = [5, 3, 1]
    is_piece = torch.arange(5) < torch.tensor(pieces)[:, None]
    found = hidden_hints(students, teachers, is_piece, 0.1, 0.5)
    for row, length in enumerate(pieces):
        costs = []
        for student, teacher in zip(students, teachers, strict=True):
            for first in range(length):
                for second in range(first + 1, length):
                    d_student, d_teacher = (
                        functional.cosine_similarity(states[row, first], states[row, second], dim=0).item()
                        for states in (student, teacher)
                    )
                    costs.append(-math.log(1 - d_student) if d_student >= 0.1 and d_teacher <= 0.5 else 0.0)
        assert found[row].item() == pytest.approx(sum(costs) / max(1, len(costs)), rel=1e-4)
    assert found[0] > 0
    assert found[2] == 0


def test_equal_states_have_a_finite_gradient() -> None:
    student = torch.ones(1, 3, 4, requires_grad=True)
    hidden_hints([student], [torch.randn(1, 3, 4)], torch.ones(1, 3, dtype=torch.bool), 0.1, 1.0).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient")  # a step that float32 resolves
def test_the_gradient_of_hidden_hints_agrees_with_differences() -> None:
    teacher = torch.randn(1, 3, 4)
    torch.autograd.gradcheck(
        lambda student: hidden_hints([student], [teacher], torch.ones(1, 3, dtype=torch.bool), -1.0, 1.0),
        torch.randn(1, 3, 4, requires_grad=True),
        eps=1e-2,
        atol=2e-2,
        rtol=2e-2,
    )


# Hints from the attention


def test_alignment_hints_are_torchs_divergence() -> None:
    """Two positions and three source tokens."""
    student = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]).log()
    teacher = torch.tensor([[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]).log()
    found = alignment_hints([student[None, None]], [teacher[None, None]])
    expected = functional.kl_div(student, teacher, log_target=True, reduction="batchmean")
    assert found.shape == (1, 2)
    assert found.mean().item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.min() > 0
    assert alignment_hints([teacher[None, None]], [teacher[None, None]]).abs().max() == 0


def test_they_are_the_mean_over_layers_and_heads() -> None:
    generator = torch.Generator().manual_seed(1)
    students, teachers = ([torch.randn(2, 3, 4, 5, generator=generator).log_softmax(3) for _ in range(2)] for _ in range(2))
    each = [
        functional.kl_div(student, teacher, log_target=True, reduction="none").sum(3)
        for student, teacher in zip(students, teachers, strict=True)
    ]
    torch.testing.assert_close(alignment_hints(students, teachers), torch.stack(each).mean((0, 2)))


# The tap


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_tap_gets_every_layer_and_changes_nothing(norm: str) -> None:
    translator = teacher_of(MODEL.model_copy(update={"norm": norm}))
    at = branch_of(translator, "at")
    assert isinstance(at, AtBranch)
    decoder = at.decoder
    encoded = translator.encode(rows(*SOURCES))
    input_BTD = decoder.tokens(shift_right(rows(*TARGETS)))
    tap = Tap()
    memory = decoder.remember(encoded)
    states = decoder.stack(input_BTD, None, memory, tap=tap)
    assert torch.equal(states, decoder.stack(input_BTD, None, memory))
    assert len(tap.states) == len(tap.log_attention) == 2
    torch.testing.assert_close(decoder.stack.norm(tap.states[-1]), states)
    weights = tap.log_attention[0].exp()
    assert weights.shape == (3, 2, 6, 6)
    torch.testing.assert_close(weights.sum(3), torch.ones(3, 2, 6))
    assert not weights[1, :, :, 2:].any()  # the padding of the source

    # The first layer's attention is that of its weights and values.
    layer = decoder.stack.layers[0]
    assert isinstance(layer, DecoderLayer)
    seen: list[Tensor] = []
    layer.cross_attention.register_forward_hook(lambda module, given, output: seen.append(output))
    decoder.stack(input_BTD, None, memory)
    values = memory.layers[0].values_BSHE
    mixed = torch.einsum("bhts,bshe->bthe", weights, values).flatten(2)
    torch.testing.assert_close(layer.cross_attention.output(mixed), seen[0], rtol=1e-4, atol=1e-5)


# The branch


def test_the_hints_compare_each_sentence_with_the_teacher_of_the_same_source_and_target() -> None:
    translator = taught()
    branch, teacher = branch_in(translator), branch_in(translator).teacher
    found = losses(translator)
    hidden = alignment = 0.0
    for source, target in zip(SOURCES, TARGETS, strict=True):
        students, teachers = Tap(), Tap()
        branch.target_states(translator.encode(rows(source)), noise_of(branch, rows(source), rows(target)), tap=students)
        decoder = branch.teacher_decoder
        memory = decoder.remember(teacher.encode(rows(source)))
        decoder.stack(decoder.tokens(torch.tensor([[BOS, *target]])), None, memory, tap=teachers)
        is_piece = torch.tensor([[True] * len(target) + [False]])
        hidden += len(target) * hidden_hints(students.states, teachers.states, is_piece, 0.1, 0.9).item()
        alignment += alignment_hints(students.log_attention, teachers.log_attention)[0, :-1].sum().item()
    assert found["hidden"].sum.item() == pytest.approx(hidden, rel=1e-4)
    assert found["alignment"].sum.item() == pytest.approx(alignment, rel=1e-4)
    assert (int(found["hidden"].count), found["alignment"].count) == (7, 8)  # the target of one piece has no pair
    assert hidden > 0


def test_equal_attention_has_no_hint() -> None:
    """Queries of zeros attend to all tokens alike, in the student and in the teacher."""
    translator = taught()
    branch = branch_in(translator)
    for decoder in (branch.decoder, branch.teacher_decoder):
        for name, weight in decoder.named_parameters():
            if "cross_attention.queries" in name:
                weight.data.zero_()
    assert losses(translator)["alignment"].sum.item() == pytest.approx(0, abs=1e-5)


def test_the_teacher_is_neither_trained_nor_saved_nor_moved_with_the_model() -> None:
    translator = taught()
    before = {name: weight.clone() for name, weight in branch_in(translator).teacher.state_dict().items()}
    objective = objective_of(translator, HintNat())
    names = {name for name, _ in objective.named_parameters()}
    plain = {name for name, _ in objective_of(translator_of(HintNat()), HintNat()).named_parameters()}
    assert names == plain
    assert translator.state_dict().keys() == translator_of(HintNat()).state_dict().keys()
    objective.train()
    draw = objective.draw(rows(*SOURCES), rows(*TARGETS), NOW, torch.Generator().manual_seed(1))
    total, *_ = objective(draw, {part: torch.tensor(1.0) for part in objective.parts}, NOW)
    total.backward()
    torch.optim.SGD(objective.parameters(), lr=1.0).step()
    teacher = branch_in(translator).teacher
    assert not teacher.training
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())


def test_the_work_of_the_teacher_is_counted() -> None:
    translator = taught()
    branch = branch_in(translator)
    noise = noise_of(branch, rows(*SOURCES), rows(*TARGETS))
    source_R = torch.tensor([4, 2, 6])
    work = ModelFlops(MODEL, VOCABULARY)
    small = branch.flops(work, source_R, noise)
    deep = teacher_of(MODEL.model_copy(update={"encoder_layers": 3}))
    branch.use_teacher(deep)
    assert branch.flops(work, source_R, noise) - small == 2 * work.encoder(source_R)


def test_the_parts_have_their_weights() -> None:
    branch = branch_in(translator_of(HintNat(hidden_weight=3.0, alignment_weight=0.5)))
    assert [branch.weight_of(part) for part in branch.parts] == [1.0, 3.0, 0.5, 0.1]


def test_the_teachers_width_may_differ() -> None:
    wide = teacher_of(MODEL.model_copy(update={"width": 16}))
    assert all(loss.sum.isfinite() for loss in losses(taught(teacher=wide)).values())


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"decoder_layers": 3}, "system.teacher: must have as many decoder layers as model.decoder_layers; got 3 and 2"),
        ({"heads": 4}, "system.teacher: must have as many heads as model.heads; got 4 and 2"),
        ({"max_positions": 8}, "system.teacher: must have at least as many positions as model.max_positions; got 8 and 16"),
    ],
)
def test_a_teacher_of_another_shape_is_refused(changed: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        taught(teacher=teacher_of(MODEL.model_copy(update=changed)))
    assert str(raised.value).startswith(problem)


def test_a_teacher_without_an_at_decoder_is_refused() -> None:
    only_nat = translator_of(MaskPredict(), objective=ObjectiveConfig(schedule=Constant(value=1.0)))
    with pytest.raises(ConfigError, match=r"system\.teacher: has no AT decoder; give a model that was trained with one"):
        branch_in(translator_of(HintNat())).use_teacher(only_nat)


# Training


def metrics(experiment: Experiment, folder: Path, teacher: Path | None = None) -> dict[str, float]:
    """The metrics of all points of a run."""
    points = list(fit(experiment, dataset(), folder, workers=Alone("cpu"), teacher=teacher))
    return {name: value for point in points for name, value in point.metrics.items()}


def test_a_run_reads_the_teacher_that_it_names_or_that_of_its_study(tmp_path: Path) -> None:
    teacher = saved_teacher(tmp_path / "teacher")
    experiment = build(Experiment, EXPERIMENT)
    named = metrics(replace(experiment, {"system.teacher": str(teacher)}), tmp_path / "named")
    of_the_study = metrics(experiment, tmp_path / "study", teacher)
    assert named["train/loss_alignment"] == of_the_study["train/loss_alignment"] > 0
    assert named["valid/loss_hidden"] == of_the_study["valid/loss_hidden"]


def test_a_moving_average_is_validated_with_the_teacher_too(tmp_path: Path) -> None:
    experiment = replace(build(Experiment, EXPERIMENT), {"training.ema_decay": 0.5})
    assert metrics(experiment, tmp_path / "run", saved_teacher(tmp_path / "teacher"))["valid/loss_alignment"] > 0


def test_a_run_without_a_teacher_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^system\.teacher: is missing; give the folder of a model with an AT decoder"):
        metrics(build(Experiment, EXPERIMENT), tmp_path / "run")


def test_a_teacher_that_is_no_model_or_has_another_vocabulary_is_refused(tmp_path: Path) -> None:
    experiment = build(Experiment, EXPERIMENT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="is not a model folder"):
        metrics(experiment, tmp_path / "first", tmp_path / "empty")
    other = saved_teacher(tmp_path / "other", {"data.vocabulary_size": 200})
    with pytest.raises(ConfigError, match=r"system\.teacher: .*other has another vocabulary than this experiment"):
        metrics(experiment, tmp_path / "second", other)


def test_an_untrained_stand_in_is_enough_to_measure_the_speed() -> None:
    experiment = build(Experiment, EXPERIMENT)
    translator = experiment.build_translator(dataset().vocabularies)
    stand_in_teacher(experiment, translator, lambda teacher: teacher.build_translator(dataset().vocabularies))
    assert branch_in(translator).teacher.config == experiment.model
