"""The wheel holds everything that a command reads, and the lock has a hash for everything that is installed."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_wheel_from_the_files_of_the_image_holds_the_study_files_the_schemas_and_the_templates(tmp_path: Path) -> None:
    """The wheel is built from what cluster/Dockerfile has copied when it installs the package."""
    steps = (ROOT / "cluster" / "Dockerfile").read_text(encoding="utf-8").partition("'.[study]'")[0]
    for step in re.findall(r"^COPY (.+)$", steps, re.MULTILINE):
        *names, target = step.split()
        for name in names:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, tmp_path / target, symlinks=True, ignore=ignored)
            else:
                shutil.copy(ROOT / name, tmp_path / target)
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in [*(ROOT / "studies").rglob("*.yaml"), *(ROOT / "mtnat" / "schemas").glob("*.json")]:
        assert f"mtnat/{file.relative_to(ROOT if file.suffix == '.yaml' else ROOT / 'mtnat')}" in names
    templates = {
        file.name for file in (ROOT / "mtnat" / "analysis" / "inspection").iterdir() if file.suffix in {".html", ".css", ".js"}
    }
    assert templates
    assert {f"mtnat/analysis/inspection/{name}" for name in templates} <= names
    assert {name for name in names if name.startswith("tests/")} == set()


def test_the_lock_has_hashes_of_exactly_the_versions_in_the_constraints() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    versions = [line for line in constraints.splitlines() if not line.startswith("#")]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^([^\s#]\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", lock, re.MULTILINE)
    assert [_plain(name) for name, _ in entries] == sorted(map(_plain, versions))


def _plain(requirement: str) -> tuple[str, str]:
    name, _, version = requirement.partition("==")
    return canonicalize_name(name), version
