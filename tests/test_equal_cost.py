"""`measurements/equal_cost.py`: the steps that it writes into a study file."""

import shutil
from pathlib import Path

from equal_cost import rewrite

from mtnat.config import read_yaml

STUDY = Path(__file__).parent.parent / "studies" / "rivals.yaml"


def test_only_the_steps_of_the_baselines_change(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    shutil.copy(STUDY, study)
    rewrite(study, {"ctc": 410, "glat, annealed": 820})
    before, after = read_yaml(STUDY), read_yaml(study)
    steps = {"training.steps": 410, "training.warmup_steps": 82, "training.validate_every": 205}
    twice = {name: 2 * number for name, number in steps.items()}
    changed = {"ctc": before["baselines"]["ctc"] | steps, "glat, annealed": before["baselines"]["glat, annealed"] | twice}
    assert after == {**before, "baselines": before["baselines"] | changed}
    assert list(after["baselines"]) == list(before["baselines"])
    comments = [line for line in STUDY.read_text().splitlines() if line.startswith("#")]
    assert [line for line in study.read_text().splitlines() if line.startswith("#")] == comments
