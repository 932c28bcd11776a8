"""Damaged files of a study are named, and rebuilt where the rest allows it."""

from pathlib import Path

import pytest
from small_study import study

from mtnat.config import replace, write_yaml
from mtnat.files import write_whole
from mtnat.lab.outputs.clock import Clock
from mtnat.lab.outputs.curves import CURVES_FILE, append_point, read_curves, write_point
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder, write_result
from mtnat.lab.outputs.mending import mend_runs
from mtnat.lab.outputs.micro_batches import read_micro_batches, write_micro_batches
from mtnat.lab.outputs.runs import Result
from mtnat.lab.plan.optuna_proposer import make_proposer
from mtnat.lab.plan.restoring import restore_proposals

DAMAGES = [b"", b"[]", b"{", b"null", b"\xff\x00", b'{"run": 3}', b'{"run": "other-seed1"}']


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_result_is_named_and_set_aside(tmp_path: Path, damage: bytes) -> None:
    folder = StudyFolder(tmp_path)
    write_result(folder.run("whole-seed1"), Result(run="whole-seed1", valid=1.0))
    run_folder = folder.run("broken-seed1")
    run_folder.mkdir()
    (run_folder / RESULT_FILE).write_bytes(damage)
    (sentence,) = mend_runs(folder)
    assert sentence.startswith(f"{run_folder / RESULT_FILE}: is ")
    assert "set aside as damaged-run.json, and the run's result is made again" in sentence
    assert (run_folder / "damaged-run.json").read_bytes() == damage
    assert folder.results().keys() == {"whole-seed1"}
    assert list(mend_runs(folder)) == []


def test_damaged_lines_of_curves_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    run_folder = folder.run("a-seed1")
    run_folder.mkdir(parents=True)
    append_point(run_folder, write_point(1, {"train/loss": 2.0}))
    garbage = [b"\xff\xfe", b"[]", b"{}}", b'{"steps": 1}}', b'{"metrics": {}, "step": "x"}', b"[" * 100_000]
    with (run_folder / CURVES_FILE).open("ab") as file:
        file.write(b"".join(line + b"\n" for line in garbage) + b'{"step": 2, "metrics": {"train/lo')
    append_point(run_folder, write_point(3, {"train/loss": float("nan"), "cost/tokens": 4}))
    points = list(read_curves(run_folder))
    assert [step for step, _ in points] == [1, 3]
    (sentence,) = mend_runs(folder)
    assert sentence == f"{run_folder / CURVES_FILE}: {len(garbage)} lines are damaged and left out of the curves."


@pytest.mark.parametrize("damage", [b"", b"x", b"-3", b"nan", b"\xff", b"1e999"])
def test_a_damaged_clock_or_number_of_parts_begins_from_the_start(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "clock").write_bytes(damage)
    assert 0 <= Clock(tmp_path / "clock").seconds < 60
    write_micro_batches(tmp_path, 4)
    assert read_micro_batches(tmp_path) == 4
    (number,) = (path for path in tmp_path.iterdir() if path.name != "clock")
    number.write_bytes(damage)
    assert read_micro_batches(tmp_path) == 1


def test_a_proposal_whose_line_of_the_journal_is_damaged_is_taken_from_its_run(tmp_path: Path) -> None:
    one = study(search={"training.weight_decay": {"float": [0.0, 0.1]}})
    folder = StudyFolder(tmp_path)
    proposer = make_proposer(one, folder.journal)
    for number in (1, 2, 3):
        settings = proposer.ask(f"trial-{number:02}", lambda _: True)
        assert settings is not None
        run_folder = folder.run(f"trial-{number:02}-seed1")
        run_folder.mkdir(parents=True)
        (run_folder / "experiment.yaml").write_text(write_yaml(replace(one.experiment, settings)))
        proposer.tell(f"trial-{number:02}", [1.0])
    proposed = proposer.known()
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    (lost,) = (number for number, line in enumerate(lines) if b"trial-02" in line)
    write_whole(folder.journal, b"".join([*lines[:lost], b"\xff\n", *lines[lost + 1 :]]))
    again = make_proposer(one, folder.journal)
    (sentence,) = restore_proposals(again, one, folder)
    assert again.known() == proposed
    assert f"line {lost + 1} is damaged; it was rebuilt with 3 proposals" in sentence
    assert list(restore_proposals(make_proposer(one, folder.journal), one, folder)) == []
