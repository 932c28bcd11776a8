"""The study files of the project are valid and match their descriptions."""

from pathlib import Path

import pytest

from mtnat.config import build, read_yaml, replace
from mtnat.decoding import MaskPredictDecoding
from mtnat.lab.study.record import Study

STUDIES = Path(__file__).parent.parent / "studies"
FILES = sorted(STUDIES.rglob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(STUDIES)) for file in FILES])
def test_every_baseline_and_teacher_of_every_column_can_be_built(file: Path) -> None:
    study = build(Study, read_yaml(file))
    for part in study.parts.values():
        for settings in (*part.baselines.values(), part.teacher.settings if part.teacher else {}):
            experiment = replace(part.experiment, settings)
            assert experiment.training.batches_per_step % part.resources.most_workers == 0
    if study.search and study.confirm and study.confirm.top:
        assert study.experiment.seed not in study.confirm.seeds


@pytest.mark.parametrize("table", [2, 3, 5])
def test_the_wmt_tables_have_the_constants_of_the_paper(table: int) -> None:
    """Hao et al. 2021, A.1."""
    study = build(Study, read_yaml(STUDIES / "paper" / f"table{table}-wmt.yaml"))
    for part in study.parts.values():
        experiment = part.experiment
        training = experiment.training
        assert training.max_tokens_per_batch * training.batches_per_step == 128 * 1024
        assert (training.steps, training.warmup_steps) == (300_000, 10_000)
        assert (training.initial_learning_rate, training.peak_learning_rate) == (1e-7, 5e-4)
        assert (training.adam_betas, training.adam_epsilon, training.weight_decay) == ((0.9, 0.98), 1e-6, 0.01)
        assert (training.model, training.keep_checkpoints, training.validate_every) == ("average_last", 5, 2_000)
        assert (experiment.model.dropout, experiment.data.vocabulary_size) == (0.3, 32_000)
        assert (experiment.model.width, experiment.model.feed_forward, experiment.model.encoder_layers) == (512, 2048, 6)
        # Label smoothing is that of the authors' script. A.1 halves the batch of the AT baseline only, not of the AT branch.
        assert (experiment.objective.at_fraction, experiment.objective.label_smoothing) == (1.0, 0.1)
        half = [part.baselines["transformer"]] if "transformer" in part.baselines else []
        half += [part.teacher.settings] if part.teacher else []
        for settings in half:
            assert training.max_tokens_per_batch * settings["training.batches_per_step"] == 64 * 1024
        assert isinstance(experiment.decoding, MaskPredictDecoding)
        assert (experiment.decoding.iterations, experiment.decoding.length_candidates) == (10, 5)


@pytest.mark.parametrize("size", ["grammar", "real", "wmt"])
def test_tables_2_and_3_differ_only_by_the_teacher(size: str) -> None:
    without, taught = (build(Study, read_yaml(STUDIES / "paper" / f"table{table}-{size}.yaml")) for table in (2, 3))
    assert (without.teacher, taught.teacher is None) == (None, False)
    assert without.experiment == taught.experiment
    shared = without.baselines.keys() & taught.baselines.keys()
    assert shared == {"levenshtein", "mask-predict", "multi-task fixed", "importance annealing"}
    assert all(without.baselines[name] == taught.baselines[name] for name in shared)
    rivals = {"hint-nat", "nat-reg", "fcl-nat", "nad-ad", "raw-data prior"}
    (shallow,) = (name for name in taught.baselines if name.startswith("transformer, "))
    assert taught.baselines.keys() == shared | rivals | {"transformer", shallow}
