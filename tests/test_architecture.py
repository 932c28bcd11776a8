"""Imports only go to lower floors (see docs/architecture.md), and each study library stays in its rooms."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "errors": 0,
    "config": 1,
    "files": 1,
    "plot_labels": 1,
    "process": 1,
    "tokens": 1,
    "console": 2,
    "data": 2,
    "model": 2,
    "evaluation": 2,
    "formats": 2,
    "corpora": 3,
    "objective": 3,
    "decoding": 3,
    "systems": 4,
    "experiment": 5,
    "training": 6,
    "analysis": 7,
    "bench": 8,
    "lab": 8,
    "api": 9,
    "cli": 9,
    "__main__": 10,
    "tune": 10,
    "testing": 10,
}
TOP = 11
"""The floor of the bare package, which offers the Python interface."""
LAB_FLOORS = {
    "tracking": 1,
    "study": 2,
    "cluster": 3,
    "outputs": 3,
    "plan": 4,
    "worker": 4,
    "results": 5,
    "report": 6,
    "driver": 7,
    "overhead": 8,
    "rehearsal": 8,
    "start": 9,
    "command": 10,
}
LAB_TOOLS = {
    "matplotlib": {"report"},
    "mlflow": {"tracking", "overhead"},  # the benchmark reads what a real study has tracked
    "optuna": {"plan"},
    "pyarrow": {"outputs"},
    "ray": {"cluster", "worker", "driver", "rehearsal", "overhead"},
    "ray.train": {"worker"},
    "ray.tune": {"worker", "driver", "overhead"},
    "rich": {"results", "report", "driver", "rehearsal", "overhead", "start"},
}
"""The rooms of `mtnat/lab` that may import a library."""
STUDY_TOOLS = {"mlflow", "optuna", "pandas", "ray", "scipy"}
BESIDES = {("api", "pandas"), ("analysis", "scipy")}
"""Rooms that import a study tool inside a function: `pandas` for tables, and `scipy`, which scikit-learn needs too."""
PACKAGES = [["mtnat"], ["mtnat", "lab"], ["ray"]]
"""Packages of which a module can be imported by name: ``from ray import tune``."""
VERSION = "__version__"
"""Not a room; any module may import it from ``mtnat``."""
FILES = sorted([*(ROOT / "mtnat").rglob("*.py"), ROOT / "tune.py"])


def module(file: Path) -> list[str]:
    """``mtnat/data/store.py`` as ``[mtnat, data, store]``; a package's ``__init__.py`` is the package."""
    names = list(file.relative_to(ROOT).with_suffix("").parts)
    return names[:-1] if names[-1] == "__init__" else names


def room(names: list[str]) -> str:
    """The room of a module: what stands after ``mtnat``; nothing for the bare package."""
    return names[0] if names[0] != "mtnat" else names[1] if len(names) > 1 else ""


def imports(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Every import, also inside functions: the line and the imported name, absolute."""
    package = module(file) if file.name == "__init__.py" else module(file)[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = above + (node.module.split(".") if node.module else [])
            yield from ((node.lineno, [*origin, alias.name] if origin in PACKAGES else origin) for alias in node.names)


def place(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def floors_of_the_page(heading: str) -> dict[str, int]:
    """Returns the floor of each room in a table of docs/architecture.md."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", page.split(f"## {heading}\n")[1].split("\n## ")[0], re.MULTILINE)
    return {Path(path).stem: int(floor) for floor, rooms in rows for path in re.findall(r"`(.+?)`", rooms)}


@pytest.mark.parametrize(("heading", "floors"), [("The rooms", FLOORS), ("The rooms of the study platform", LAB_FLOORS)])
def test_the_docs_list_every_room_with_its_floor(heading: str, floors: dict[str, int]) -> None:
    assert floors_of_the_page(heading) == floors


def test_every_room_has_a_floor() -> None:
    assert {room(module(file)) for file in FILES} - {""} == set(FLOORS)


def test_imports_only_go_to_rooms_on_lower_floors() -> None:
    broken = []
    for file in FILES:
        here = room(module(file))
        for line, names in imports(file):
            there = room(names)
            if names[0] == "mtnat" and there not in (here, VERSION) and FLOORS.get(there, 99) >= FLOORS.get(here, TOP):
                broken.append(f"{place(file, line)}: {here or 'mtnat'} imports {there or 'mtnat'}")
    assert broken == []


def test_only_tests_import_the_contracts() -> None:
    broken = [place(file, line) for file in FILES for line, names in imports(file) if names[:2] == ["mtnat", "testing"]]
    assert [line for line in broken if not line.startswith("mtnat/testing/")] == []


def lab_room(names: list[str]) -> str:
    """The room of a module of `mtnat/lab`; nothing for any other module."""
    return names[2] if names[:2] == ["mtnat", "lab"] and len(names) > 2 else ""


def test_every_room_of_the_lab_has_a_floor() -> None:
    assert {lab_room(module(file)) for file in FILES} - {""} == set(LAB_FLOORS)


def test_imports_within_the_lab_only_go_to_rooms_on_lower_floors() -> None:
    broken = []
    for file in FILES:
        here = lab_room(module(file))
        for line, names in imports(file):
            there = lab_room(names)
            if here and there and there != here and LAB_FLOORS[there] >= LAB_FLOORS[here]:
                broken.append(f"{place(file, line)}: {here} imports {there}")
    assert broken == []


def test_each_library_of_the_lab_is_imported_only_in_its_rooms() -> None:
    found: dict[str, set[str]] = {name: set() for name in LAB_TOOLS}
    for file in FILES:
        if here := lab_room(module(file)):
            for _, names in imports(file):
                for name in found:
                    if names[: name.count(".") + 1] == name.split("."):
                        found[name].add(here)
    assert found == LAB_TOOLS


SCORE = [
    ["mtnat.evaluation", "mtnat.training", "mtnat.lab.worker.execute"],
    ["mtnat.lab.outputs.runs", "mtnat.lab.results.rows", "mtnat.lab.results.leaderboard", "mtnat.lab.report.markdown"],
    ["mtnat.lab.results.leaderboard", "mtnat.lab.driver.driver", "mtnat.lab.start"],
]
"""The path of a score: from translations to the result that a run's process writes, and from there to the leaderboard."""


@pytest.mark.parametrize("way", SCORE, ids=lambda way: f"{way[0]} to {way[-1]}")
def test_each_module_on_the_path_of_a_score_imports_the_previous_and_no_later_module(way: list[str]) -> None:
    """Each module on the path imports the previous one, and no module imports a later one."""
    known = {
        name: {".".join(names) for file in FILES if ".".join(module(file)).startswith(name) for _, names in imports(file)}
        for name in way
    }
    for number, name in enumerate(way):
        below = {one for one in way[:number] if any(each.startswith(one) for each in known[name])}
        above = {one for one in way[number + 1 :] if any(each.startswith(one) for each in known[name])}
        assert not above
        assert not number or way[number - 1] in below


def test_only_the_lab_and_few_functions_import_the_study_tools() -> None:
    broken = [
        f"{place(file, line)}: imports {names[0]}"
        for file in FILES
        for line, names in imports(file)
        if names[0] in STUDY_TOOLS and room(module(file)) != "lab" and (room(module(file)), names[0]) not in BESIDES
    ]
    assert broken == []


def test_only_config_documents_imports_a_yaml_library() -> None:
    knows = {place(file, line) for file in FILES for line, names in imports(file) if names[0] in {"ruamel", "yaml"}}
    assert {where.partition(":")[0] for where in knows} == {"mtnat/config/documents.py"}


def test_only_tokenized_bleu_imports_sacremoses() -> None:
    knows = {file.name for file in FILES for _, names in imports(file) if names[0] == "sacremoses"}
    assert knows == {"tokenized.py"}


@pytest.mark.parametrize("name", ["errors", "config", "files", "formats", "process", "tokens"])
def test_the_lowest_floors_do_not_import_torch(name: str) -> None:
    files = [file for file in FILES if room(module(file)) == name]
    assert files
    assert "torch" not in {names[0] for file in files for _, names in imports(file)}


def test_modules_below_the_lab_do_not_print() -> None:
    broken = [
        place(file, node.lineno)
        for file in FILES
        if FLOORS.get(room(module(file)), 0) < FLOORS["lab"]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert broken == []


CLI = [f"mtnat.cli.{file.stem}" for file in FILES if file.parent == ROOT / "mtnat" / "cli" and file.stem != "__init__"]


def test_importing_the_core_does_not_load_the_study_tools() -> None:
    names = ", ".join(["mtnat", *CLI, "mtnat.evaluation.tokenized", "mtnat.training"])
    code = f"import json, sys, {names}; print(json.dumps(sorted(module.partition('.')[0] for module in sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (STUDY_TOOLS | {"sacremoses"}) & set(json.loads(loaded)) == set()
