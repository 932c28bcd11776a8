"""Studies on a cluster of three Ray nodes, all of them processes of this machine: a node dies, a job is submitted."""

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from test_whole_study import ROOT, Desk, ended, wait_until

from mtnat.lab.results.leaderboard import Leaderboard

pytestmark = [pytest.mark.slow, pytest.mark.ray]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def die_with_parent() -> None:
    """Has Linux kill this process when the one that started it ends; Ray's processes do the same."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Nodes:
    """A Ray cluster whose first node is the head; each node has a core, a loopback address and a scratch folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.dashboard_port = free_port(), free_port()
        self.address = f"127.0.0.2:{self.port}"  # Ray takes 127.0.0.1 for the machine's public address
        self.temporary = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets' paths must be short
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_memory_monitor_refresh_ms": "0",  # memory that other programs take must not end the study's processes
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def scratch(self, number: int) -> Path:
        return self.folder / f"scratch-{number}"

    def start(self, count: int, *, dashboard: bool = False) -> None:
        for number in range(count):
            place = [f"--address={self.address}"]
            if not number:
                place = ["--head", f"--port={self.port}", f"--temp-dir={self.temporary}"]
                place += [f"--include-dashboard={str(dashboard).lower()}", f"--dashboard-port={self.dashboard_port}"]
                place += [f"--ray-client-server-port={free_port()}"]
            resources = ["--num-cpus=1", f"--object-store-memory={100 * 2**20}", "--disable-usage-stats"]
            resources += [f"--dashboard-agent-listen-port={free_port()}"]
            log = (self.folder / f"node-{number}.log").open("wb")
            command = [*RAY, "start", "--block", f"--node-ip-address=127.0.0.{number + 2}", *place, *resources]
            environment = os.environ | self.environment | {"MTNAT_SCRATCH": str(self.scratch(number))}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent)
            self.processes.append(process)
            self.wait(number)  # two nodes that start at once would take each other's sockets

    def wait(self, number: int) -> None:
        log = self.folder / f"node-{number}.log"
        for _ in range(6000):
            if "Ray runtime started" in log.read_text():
                return
            assert self.processes[number].poll() is None, log.read_text()
            time.sleep(0.1)
        raise AssertionError(log.read_text())

    def kill(self, number: int) -> None:
        with suppress(psutil.NoSuchProcess):
            node = psutil.Process(self.processes[number].pid)
            for process in [node, *node.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.processes[number].wait()

    def stop(self) -> None:
        for number in reversed(range(len(self.processes))):
            self.kill(number)
        shutil.rmtree(self.temporary, ignore_errors=True)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    try:
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def desk(tmp_path: Path, nodes: Nodes) -> Desk:
    desk = Desk(tmp_path)
    desk.environment |= nodes.environment
    return desk


def end_with_a_node_less(desk: Desk, nodes: Nodes, progress: Callable[[], int], *arguments: str) -> None:
    """Kills a node once each of the three has a checkpoint, and waits for the end of the study."""
    steps = 300
    baselines = {name: {"training.weight_decay": index / 10} for index, name in enumerate("abcd")}
    desk.write("long", steps=steps, training={"validate_every": 50}, baselines=baselines)
    process = desk.start("long.yaml", "--address", nodes.address, *arguments)
    wait_until(lambda: progress() == 3, process)
    nodes.kill(2)
    out, errors = ended(process)
    assert (process.returncode, errors) == (0, ""), out
    for name in "abcd":
        seen = [step for step, _ in desk.curve("long", f"{name}-seed1", "train/loss")]
        assert set(seen) == set(range(2, steps + 1, 2))
        assert seen.count(2) == 1  # no run started from the beginning again
    _, tracked = desk.tracked()
    assert len(tracked) == 1 + 4
    assert {run.info.status for run in tracked} == {"FINISHED"}


def test_runs_of_a_dead_node_continue_on_other_nodes(desk: Desk, nodes: Nodes) -> None:
    nodes.start(3)
    runs = desk.runs("long")
    end_with_a_node_less(desk, nodes, lambda: len({path.parent for path in runs.glob("*/checkpoints/*.pt")}))


def test_runs_of_a_dead_node_continue_when_nodes_share_only_a_storage(desk: Desk, nodes: Nodes, tmp_path: Path) -> None:
    nodes.start(3)
    storage = tmp_path / "storage"
    end_with_a_node_less(desk, nodes, lambda: len(list(storage.glob("*/runs/*/manifest.json"))), "--storage", storage.as_uri())
    assert not list(desk.runs("long").glob("*/checkpoints"))
    assert [list(nodes.scratch(number).glob("*/runs/*")) for number in (0, 1)] == [[], []]  # runs that ended leave nothing


def test_a_submitted_ray_job_runs_a_study_to_its_answer(desk: Desk, nodes: Nodes, tmp_path: Path) -> None:
    nodes.start(1, dashboard=True)
    project = tmp_path / "project"
    shutil.copytree(ROOT / "mtnat", project / "mtnat", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tune.py", project)
    desk.write("project/tiny", baselines={"annealing": {}})
    settings = json.dumps({"env_vars": {name: desk.environment[name] for name in ("MTNAT_DATA", "MTNAT_CACHE")}})
    submit = [*RAY, "job", "submit", f"--address=http://127.0.0.1:{nodes.dashboard_port}", "--working-dir=."]
    tune = [sys.executable, "tune.py", "tiny.yaml"]
    lasting = [f"--outputs={tmp_path}/outputs", f"--tracking-uri=sqlite:///{tmp_path}/mlflow.db"]

    def job(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*submit, f"--runtime-env-json={settings}", "--", *tune, *arguments]
        environment = desk.environment | {"PYTHONPATH": ""}
        ends = time.monotonic() + 600
        while time.monotonic() < ends:
            done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=900)
            if "No available agent" not in done.stderr:  # the head takes submissions before it can start them
                return done
        raise AssertionError(done.stderr)

    refused = job()
    assert refused.returncode != 0
    assert "removed when it ends" in refused.stdout
    done = job(*lasting)
    assert done.returncode == 0, done.stdout + done.stderr
    leaderboard = Leaderboard.model_validate_json((tmp_path / "outputs" / "tiny" / "leaderboard.json").read_bytes())
    assert leaderboard.answer in done.stdout
    assert (tmp_path / "mlartifacts").is_dir()
