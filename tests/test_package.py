"""The wheel holds everything that a command reads."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_holds_the_study_files_and_the_schemas(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("mtnat", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in [*(ROOT / "studies").rglob("*.yaml"), *(ROOT / "mtnat" / "schemas").glob("*.json")]:
        assert f"mtnat/{file.relative_to(ROOT if file.suffix == '.yaml' else ROOT / 'mtnat')}" in names
    assert {name for name in names if name.startswith("tests/")} == set()
