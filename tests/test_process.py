"""A command restarts itself with settings for the C library and is otherwise unchanged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtnat.process import TUNABLES, typed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: elsewhere no process restarts")

SCRIPT = """
import os, sys
from mtnat.process import restart_with_tunables
restart_with_tunables()
print(os.getpid(), sys.argv[1:], sys.flags.utf8_mode, os.environ["GLIBC_TUNABLES"], input())
sys.exit(3)
"""


def told(folder: Path, environment: dict[str, str]) -> tuple[int, str, int]:
    """The process's first id, what it prints, and its exit code."""
    (folder / "script.py").write_text(SCRIPT)
    kept = {name: text for name, text in os.environ.items() if name not in TUNABLES}
    command = [sys.executable, "-X", "utf8", str(folder / "script.py"), "a b", "--c"]
    with subprocess.Popen(command, env=kept | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate("read\n")
        return process.pid, output, process.returncode


def test_a_restart_keeps_working_directory_arguments_and_streams(tmp_path: Path) -> None:
    pid, output, code = told(tmp_path, {})
    assert (output, code) == (f"{pid} ['a b', '--c'] 1 {TUNABLES['GLIBC_TUNABLES']} read\n", 3)


def test_tunables_set_by_the_user_are_kept(tmp_path: Path) -> None:
    pid, output, code = told(tmp_path, {"GLIBC_TUNABLES": "glibc.malloc.check=0"})
    assert (output, code) == (f"{pid} ['a b', '--c'] 1 glibc.malloc.check=0 read\n", 3)


def test_the_mtnat_command_restarts_with_tunables(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nprint(os.environ.get('GLIBC_TUNABLES'), file=sys.stderr)\n")
    kept = {name: text for name, text in os.environ.items() if name not in TUNABLES} | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "mtnat", "--help"]
    starts = subprocess.run(command, env=kept, capture_output=True, text=True, check=True).stderr.splitlines()
    assert starts == ["None", TUNABLES["GLIBC_TUNABLES"]]


def test_a_command_is_typed_by_its_path_unless_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "mtnat").write_text("")
    (folder / "mtnat").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.chdir(tmp_path)
    assert typed("mtnat") == "venv/bin/mtnat"
    assert typed("no-such-script") == "venv/bin/python -m no-such-script"
    monkeypatch.setenv("PATH", str(folder))
    assert typed("mtnat") == "mtnat"
    monkeypatch.chdir(folder.parent.parent.parent)
    monkeypatch.setenv("PATH", "/usr/bin")
    assert typed("mtnat") == f"{tmp_path.name}/venv/bin/mtnat"


@pytest.mark.parametrize("stream", [">&-", "<&-", "2>&-", "| true"])
@pytest.mark.parametrize("command", ["schema study", "data stats text text"])
def test_a_stream_that_nobody_reads_is_no_error(tmp_path: Path, stream: str, command: str) -> None:
    (tmp_path / "text").write_text("a line\n" * 10)
    script = f"set -o pipefail; {sys.executable} -m mtnat {command} {stream}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("script", "code", "output"),
    [
        ("end_quietly_at_interrupt(); interrupt()", -signal.SIGINT, ""),
        ("end_quietly_at_interrupt(); raise_at_interrupt(); interrupt()", 0, "interrupted"),
        (
            "signal.signal(signal.SIGINT, signal.SIG_IGN); end_quietly_at_interrupt(); interrupt(); print('ignored')",
            0,
            "ignored",
        ),
    ],
)
def test_an_interrupt_while_modules_are_imported_leaves_no_traceback(script: str, code: int, output: str) -> None:
    lines = [
        "import os, signal",
        "from mtnat.process import end_quietly_at_interrupt, raise_at_interrupt",
        "def interrupt():",
        "    os.kill(os.getpid(), signal.SIGINT)",
        "try:",
        f"    {script}",
        "except KeyboardInterrupt:",
        "    print('interrupted')",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (code, output, "")


def test_a_python_without_the_packages_is_named_in_a_sentence() -> None:
    command = [sys.executable, "-S", "-m", "mtnat", "translate", "--model", "m"]  # -S: without the packages of the environment
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mtnat: {sys.executable}: lacks the package ")
    assert "Traceback" not in done.stderr
