"""Studies on a cluster of three Ray nodes, all of them processes of this machine: a node dies, a job is submitted."""

import ctypes
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from test_whole_study import ROOT, Desk, ended, wait_until

from mtnat.lab.results.leaderboard import Leaderboard

pytestmark = [pytest.mark.slow, pytest.mark.ray]
MOST_NODES = 4
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_ports(count: int) -> list[int]:
    """Numbers of different free ports: one that is free again could be drawn twice."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def die_with_parent() -> None:
    """Has Linux kill this process when the one that started it ends; Ray's processes do the same."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Nodes:
    """A Ray cluster whose first node is the head; each node has a core, a loopback address and a scratch folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.dashboard_port, self.client_port, *self.agent_ports = free_ports(3 + MOST_NODES)
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

    def start(self, count: int) -> None:
        for number in range(count):
            place = [f"--address={self.address}"] if number else ["--head", f"--port={self.port}", "--include-dashboard=false"]
            self.start_node([*RAY, "start", *place, "--disable-usage-stats"], os.environ | self.environment)

    def start_node(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts the next node with a command, to which the options are added that several nodes on one machine need."""
        number = len(self.processes)
        options = ["--block", f"--node-ip-address=127.0.0.{number + 2}", "--num-cpus=1"]
        options += [f"--object-store-memory={100 * 2**20}", f"--dashboard-agent-listen-port={self.agent_ports[number]}"]
        if not number:
            options += [f"--temp-dir={self.temporary}", f"--dashboard-port={self.dashboard_port}"]
            options += [f"--ray-client-server-port={self.client_port}"]
        log = (self.folder / f"node-{number}.log").open("wb")
        environment = {**environment, "MTNAT_SCRATCH": str(self.scratch(number))}
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent)
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
    desk.write("long", steps=steps, training={"validate_every": 50}, baselines=baselines, resources={})
    process = desk.start("long.yaml", "--address", nodes.address, *arguments)
    wait_until(lambda: progress() == 3, process)
    nodes.kill(2)
    out, errors = ended(process)
    assert (process.returncode, errors) == (0, ""), out
    assert "raylet" not in out  # Ray's messages on its machines, with parts of its log
    for name in "abcd":
        seen = [step for step, _ in desk.curve("long", f"{name}-seed1", "train/loss")]
        assert set(seen) == set(range(2, steps + 1, 2))
        assert seen.count(2) == 1  # no run started from the beginning again
    _, tracked = desk.tracked()
    assert len(tracked) == 1 + 4
    assert {run.info.status for run in tracked} == {"FINISHED"}


@pytest.mark.chaos
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


class Shell:
    """A shell in which the commands of the page on clusters are typed, with the names and ports of this cluster."""

    def __init__(self, nodes: Nodes, desk: Desk, shared: Path) -> None:
        page = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
        section = page.partition("## Two machines, step by step")[2].partition("\n## ")[0]
        places = {
            "/shared/data": desk.environment["MTNAT_DATA"],
            "/shared/cache": desk.environment["MTNAT_CACHE"],
            "/shared": str(shared),
            "HEAD": "127.0.0.2",
            "6379": str(nodes.port),
            "8265": str(nodes.dashboard_port),
        }
        for name, value in places.items():
            section = section.replace(name, value)
        blocks = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        self.lines: list[str] = [line for block in blocks for line in block.splitlines()]
        self.folder = desk.folder
        home = desk.folder / "home"
        home.mkdir()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = desk.environment | {"HOME": str(home), "PATH": path, "PYTHONPATH": ""}
        del self.environment["RAY_AUTH_MODE"], self.environment["RAY_AUTH_TOKEN"]

    def line(self, *words: str) -> str:
        """Returns the line of the page that contains these words."""
        (found,) = [line for line in self.lines if all(word in line for word in words)]
        return found

    @property
    def exported(self) -> dict[str, str]:
        """The environment with the variables that the page exports."""
        words = [word for line in self.lines if line.startswith("export ") for word in line.split()[1:]]
        return self.environment | dict(word.split("=", 1) for word in words)

    def ray(self, line: str) -> list[str]:
        """Returns the words of a command of Ray, which the interpreter of this process runs."""
        return [*RAY, *shlex.split(line)[1:]]

    def start(self, line: str) -> subprocess.Popen[str]:
        exports = "; ".join(line for line in self.lines if line.startswith("export "))
        pipe = subprocess.PIPE
        command = ["bash", "-c", f"{exports}; {line}"]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, line: str) -> tuple[int, str]:
        process = self.start(line)
        out, errors = ended(process)
        return process.returncode, out + errors


def test_the_steps_of_the_page_on_clusters_lead_from_nothing_to_an_answer(desk: Desk, nodes: Nodes, tmp_path: Path) -> None:
    """The second machine is lost, the job is stopped, and another one resumes the study."""
    steps = 200
    shared = tmp_path / "shared"
    shared.mkdir()
    baselines = {name: {"training.weight_decay": index / 10} for index, name in enumerate("ab")}
    confirm = {"top": 0, "seeds": [1], "against": "a"}
    training = {"validate_every": 50}
    desk.write("shared/my-study", steps=steps, training=training, baselines=baselines, confirm=confirm, resources={})
    shell = Shell(nodes, desk, shared)
    for line in (shell.line("get-auth-token"), shell.line("chmod")):
        code, said = shell.run(line)
        assert code == 0, said
    token = Path(shell.environment["HOME"]) / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o077 == 0
    submit = shell.line("job submit", "first")

    nodes.start_node(shell.ray(shell.line("ray start", "--head")), shell.exported)
    in_the_working_folder = "--submission-id=wrong --working-dir=shared -- mtnat tune my-study.yaml"
    code, said = taken(shell, f"{submit.partition('--submission-id')[0]}{in_the_working_folder}")
    assert code != 0
    assert "removed when it ends" in said

    nodes.start_node(shell.ray(shell.line("ray start", "--address")), shell.exported)
    runs = shared / "outputs" / "my-study" / "runs"
    job = shell.start(submit)
    wait_until(lambda: len({path.parent for path in runs.glob("*/checkpoints/*.pt")}) == 2, job)
    nodes.kill(1)
    code, said = shell.run(shell.line("job stop"))
    assert code == 0, said
    ended(job)
    code, said = taken(shell, shell.line("job submit", "second"))
    assert code == 0, said
    leaderboard = Leaderboard.model_validate_json((runs.parent / "leaderboard.json").read_bytes())
    assert leaderboard.answer in said
    for name in "ab":
        points = [json.loads(line) for line in (runs / f"{name}-seed1" / "curves.jsonl").read_text().splitlines()]
        seen = [point["step"] for point in points if "train/loss" in point["metrics"]]
        assert set(seen) == set(range(2, steps + 1, 2))
        assert seen.count(2) == 1  # no run started from the beginning again
    assert (shared / "mlartifacts").is_dir()


def taken(shell: Shell, submit: str) -> tuple[int, str]:
    """Submits a job until the cluster takes it, and returns its exit code and output."""
    ends = time.monotonic() + 600
    while time.monotonic() < ends:
        code, said = shell.run(submit)
        if "No available agent" not in said:
            return code, said
    raise AssertionError(said)
