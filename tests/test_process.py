"""A command restarts itself with settings for the C library and is otherwise unchanged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtnat.process import TUNABLES

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
