"""What `import mtnat` offers."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_study import TINY

import mtnat
from mtnat.errors import ConfigError, ModelError


def test_importing_the_package_imports_no_heavy_library() -> None:
    heavy = {"torch", "numpy", "pydantic", "pandas", "ray", "mlflow", "optuna", "scipy"}
    code = f"import sys, mtnat; print(sorted({heavy} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_every_name_exists_and_is_listed() -> None:
    for name in mtnat.__all__:
        assert getattr(mtnat, name) is not None
    assert dir(mtnat) == sorted(mtnat.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mtnat' has no attribute 'trian'"):
        _ = mtnat.trian


def test_an_experiment_is_built_trained_and_translates(tmp_path: Path) -> None:
    experiment = mtnat.build_experiment(TINY)
    points: list[int] = []
    model = mtnat.train(experiment, tmp_path / "run", on_progress=lambda progress: points.append(progress.step))
    assert points[-1] == 4
    assert [line.text for line in model.translate(["a man ."])] == [
        line.text for line in mtnat.open_model(tmp_path / "run" / "model").translate(["a man ."])
    ]
    assert mtnat.read_experiment(tmp_path / "run" / "model") == experiment
    assert mtnat.read_experiment(tmp_path / "run" / "experiment.yaml") == experiment

    test = mtnat.prepare(experiment.data).test
    evaluation = mtnat.evaluate(model, test.sources[:20], test.references[:20])
    assert len(evaluation.translations) == 20
    comparison = mtnat.paired_bootstrap(test.references[:20], evaluation.translations, test.references[:20])
    assert comparison.difference > 0


def test_training_again_in_the_same_folder_loads_the_finished_model(tmp_path: Path) -> None:
    experiment = mtnat.build_experiment(TINY)
    mtnat.train(experiment, tmp_path)
    written = (tmp_path / "model" / "weights.pt").stat().st_mtime_ns
    mtnat.train(experiment, tmp_path)
    assert (tmp_path / "model" / "weights.pt").stat().st_mtime_ns == written


def test_all_problems_of_an_experiment_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        mtnat.build_experiment(TINY | {"seed": -1, "sytem": {"kind": "ctc"}})
    assert len(raised.value.problems) == 2


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model folder"):
        mtnat.open_model(tmp_path)
