"""The measurements, called from the command line."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtnat.bench.sizes import SIZES, SYSTEMS, experiment_of
from mtnat.cli import main
from mtnat.systems.registry import BUILT_IN

TRAIN_KEYS = [
    "system",
    "precision",
    "target_tokens_per_second",
    "matmul_gflops",
    "utilization",
    "cost_over_nat",
    "flops_per_target_token",
    "padding_share",
    "peak_memory_bytes",
    "size",
    "device",
    "threads",
    "workers",
]
DATA_KEYS = [
    "corpus",
    "pairs",
    "prepare_seconds",
    "pairs_per_second",
    "peak_memory_bytes",
    "open_seconds",
    "epoch_plan_seconds",
    "batches_per_second",
    "target_tokens_per_second",
    "padding_share",
    "padding_shares",
    "worker_imbalance",
]
MEASURED = ["at", "nat", "multi_task", "multi_task_sampled", "glat", "hint_nat"]  # the last one needs a teacher
GIBIBYTE = 1 << 30


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts temporary files into a separate folder, which must be empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


def rows(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Returns the JSON lines of a command, which must be its only output on standard output."""
    assert main(["bench", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_kind_of_system_can_be_measured() -> None:
    found = [
        experiment_of(SIZES["tiny"], system, precision="fp32", compiles=False, batches_per_step=1).system for system in SYSTEMS
    ]
    assert {type(system) for system in found} == set(BUILT_IN)


@pytest.mark.slow
def test_each_system_has_a_row_of_plausible_figures(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(["train", "--size", "tiny", "--steps", "4", "--rounds", "1", "--systems", *MEASURED], capsys)
    assert [list(row) for row in found] == [TRAIN_KEYS] * len(MEASURED)
    assert [row["system"] for row in found] == MEASURED
    for row in found:
        assert row["precision"] in ("fp32", "bf16", "fp16")
        assert row["target_tokens_per_second"] > 0
        assert 0 < row["utilization"] < 1.5
        assert 0 <= row["padding_share"] < 0.5
        assert 1 << 20 < row["peak_memory_bytes"] < 8 * GIBIBYTE
        assert (row["size"], row["workers"]) == ("tiny", 1)
    assert found[1]["cost_over_nat"] == 1.0
    work = {row["system"]: row["flops_per_target_token"] for row in found}
    assert max(work["at"], work["nat"]) < work["multi_task"] < work["at"] + work["nat"]
    assert work["multi_task_sampled"] < work["multi_task"]
    assert min(work["glat"], work["hint_nat"]) > work["nat"]  # a pass without gradients comes first


@pytest.mark.slow
def test_workers_are_compared_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["train", "--size", "tiny", "--random-text", "--steps", "2", "--rounds", "1", "--precision", "fp32"]
    found = rows([*common, "--workers", "2", "--systems", "nat"], capsys)
    names = ("nat",)
    assert [(row["system"], row["workers"]) for row in found] == [(system, workers) for system in names for workers in (1, 2)]
    assert all(list(row) == [*TRAIN_KEYS, "speedup_over_one_worker"] for row in found)
    assert found[0]["speedup_over_one_worker"] == 1.0
    assert [row["cost_over_nat"] for row in found if row["system"] == "nat"] == [1.0, 1.0]
    # The batches do not depend on the number of workers.
    assert all(one["padding_share"] == two["padding_share"] for one, two in zip(found[::2], found[1::2], strict=True))
    assert {row["threads"] for row in found} == {1}


@pytest.mark.slow
def test_data_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = rows(["data", "--corpus", "grammar", "--pairs", "2000"], capsys)
    assert list(row) == DATA_KEYS
    assert (row["corpus"], row["pairs"]) == ("grammar", 2000)
    assert row["pairs_per_second"] == pytest.approx(2000 / row["prepare_seconds"], rel=0.01)
    assert 1 << 20 < row["peak_memory_bytes"] < 4 * GIBIBYTE
    assert all(row[name] > 0 for name in DATA_KEYS if name.endswith(("seconds", "per_second")))
    assert list(row["padding_shares"]) == ["1024", "2048", "4096", "8192"]
    assert row["padding_shares"]["4096"] == row["padding_share"]
    assert all(0 <= share < 0.5 for share in row["padding_shares"].values())
    assert 1 <= row["worker_imbalance"] < 1.5


@pytest.mark.slow
def test_a_real_corpus_is_repeated(corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = rows(["data", "--corpus", "multi30k", "--pairs", "40000"], capsys)
    assert row["pairs"] == 40_000
    assert row["padding_shares"]["1024"] < row["padding_shares"]["8192"] < 0.2


@pytest.mark.slow
def test_the_default_output_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", "--size", "tiny", "--random-text", "--steps", "1", "--rounds", "1", "--systems", "nat"]) == 0
    out = capsys.readouterr().out
    assert "target tokens per second" in out
    assert "MiB" in out


@pytest.mark.slow
def test_running_out_of_memory_gives_one_message_and_exit_code_1() -> None:
    # mtnat.cli alone does not import PyTorch, mtnat.cli.bench does.
    sizes = "import mtnat.cli.bench; print(open('/proc/self/status').read().split('VmPeak:')[1].split()[0])"
    loaded = int(subprocess.run([sys.executable, "-c", sizes], capture_output=True, check=True).stdout)
    # Enough to start, but not for the logits of a batch of the paper's size.
    command = f"ulimit -v {loaded + (450 << 10)}; exec {sys.executable} -m mtnat bench train --size base --json"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    # PyTorch may print more, if it runs out of memory once more at exit.
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("mtnat: ")]
    assert sentence.startswith("mtnat: bench train: at with 1 worker was not measured, its process failed: ")
    assert sentence.endswith("; if memory ran out, use a smaller --size or fewer --workers.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "--random-text"),
        (["data", "--corpus", "tatoeba"], "--corpus grammar"),
        (["train", "--rounds", "0"], "rounds: must be greater than or equal to 1; got 0"),
        (["data", "--pairs", "7"], "pairs: must be greater than or equal to 1000; got 7"),
    ],
)
def test_bad_input_gives_one_message_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path / "nowhere"))
    assert main(["bench", *arguments, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (sentence,) = [line for line in captured.err.splitlines() if line.startswith("mtnat: ")]
    assert said in sentence
