"""The pages of docs/ that are written by a command are up to date, and the site can be built and needs no other host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOADED = re.compile(r'(?:<(?:script|img|iframe)[^>]*?\ssrc|<link[^>]*?\shref)="?(?P<host>(?:https?:)?//[^">\s]+)')


@pytest.mark.parametrize("script", ["command_line", "pictures"])
def test_what_a_command_writes_is_up_to_date(script: str) -> None:
    path = ROOT / "docs" / "scripts" / f"{script}.py"
    done = subprocess.run([sys.executable, str(path), "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 6_000


def test_the_links_of_the_readme_exist() -> None:
    for name, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]*))?\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # it is about the future of mkdocs-material
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "study-file.html", "RESULTS.html"} <= {page.name for page in pages}
    assert {page.name: found for page in pages if (found := LOADED.findall(page.read_text(encoding="utf-8")))} == {}
