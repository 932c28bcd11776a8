"""The files for users and contributors of a public project: valid, and in agreement with the code."""

import argparse
import ast
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import mtnat
from mtnat.config import read_yaml

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
TOOLS: dict[str, Any] = PYPROJECT["tool"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYTHONS = ["3.11", "3.12"]
"""The versions of Python that the project supports."""
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
FIELDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


def is_target(name: str) -> bool:
    return re.search(rf"^{re.escape(name)}:", MAKEFILE, re.MULTILINE) is not None


def commands(page: str) -> list[list[str]]:
    """The commands in the fenced blocks of a page."""
    blocks = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    versions = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - (unreleased|\d{4}-\d\d-\d\d)", version) for version in versions)
    numbers = [tuple(map(int, version[1:].partition("]")[0].split("."))) for version in versions]
    assert numbers == sorted(numbers, reverse=True)
    for part in CHANGELOG.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert len(kinds) == len(set(kinds))
        assert set(kinds) <= set(KINDS)


def test_the_version_of_the_project_is_the_newest_of_the_changelog() -> None:
    assert mtnat.__version__ == CHANGELOG.partition("## [")[2].partition("]")[0]


def test_the_classifiers_name_the_supported_versions_of_python() -> None:
    bounds = re.fullmatch(r">=(3\.\d+),<3\.(\d+)", PROJECT["requires-python"])
    assert bounds is not None
    assert (bounds[1], int(bounds[2]) - 1) == (PYTHONS[0], int(PYTHONS[-1].partition(".")[2]))
    named = [classifier.rpartition(" ")[2] for classifier in PROJECT["classifiers"] if "Python :: 3." in classifier]
    assert named == PYTHONS


def test_the_package_ships_its_types() -> None:
    assert "py.typed" in TOOLS["setuptools"]["package-data"]["mtnat"]
    assert (ROOT / "mtnat" / "py.typed").exists()


def test_the_targets_that_the_makefile_describes_exist() -> None:
    named = re.findall(r"^# make (\w+) ", MAKEFILE.partition("\n\n")[0], re.MULTILINE)
    assert named
    assert all(map(is_target, named))


@pytest.mark.parametrize("command", commands(CONTRIBUTING), ids=" ".join)
def test_the_commands_of_the_contributing_guide_exist(command: list[str]) -> None:
    if command[0] == "make":
        assert is_target(command[1])
        return
    assert command[:2] == [".venv/bin/python", "-m"]
    module, *arguments = command[2:]
    if module == "pre_commit":
        assert "pre-commit" in {requirement.partition("==")[0] for requirement in PROJECT["optional-dependencies"]["dev"]}
        return
    assert module == "pytest"
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*")
    parser.add_argument("-k", dest="words", default="")
    parser.add_argument("-m", dest="markers", default="")
    options = parser.parse_args(arguments)
    assert all((ROOT / name).exists() for name in options.files)
    tests = "".join((ROOT / name).read_text(encoding="utf-8") for name in options.files if name.endswith(".py"))
    assert all(re.search(rf"def test_\w*{word}", tests) for word in set(options.words.split()) - {"not", "and", "or"})
    declared = {marker.partition(":")[0] for marker in TOOLS["pytest"]["ini_options"]["markers"]}
    assert set(options.markers.split()) - {"not", "and", "or"} <= declared


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/formats.md", ".github/pull_request_template.md"])
def test_links_and_names_of_files_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    names = re.findall(r"`((?:mtnat|tests)/[\w./]+)`", text)
    missing = [name for name in links if not (ROOT / page).parent.joinpath(name).exists()]
    assert missing + [name for name in names if not (ROOT / name).exists()] == []


def test_weights_are_read_without_code() -> None:
    """SECURITY.md promises it."""
    calls = [
        node
        for file in (ROOT / "mtnat").rglob("*.py")
        if file.parent.name != "testing"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads")
    ]
    assert calls
    assert all("weights_only=True" in ast.unparse(call) for call in calls)


def test_the_citation_has_what_the_format_requires() -> None:
    """https://github.com/citation-file-format/citation-file-format, version 1.2.0."""
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert (citation["type"], citation["license"]) == ("software", PROJECT["license"])
    assert citation["authors"]
    assert "version" not in citation  # it has one place, pyproject.toml
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        assert all(author.keys() == {"given-names", "family-names"} for author in reference["authors"])
        assert reference["url"] == PROJECT["urls"]["Paper"]


def test_the_hooks_run_the_tools_of_make_lint_without_a_network() -> None:
    (repository,) = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert all(hook["language"] == "system" for hook in hooks)
    entries = [hook["entry"].replace(" --fix", "") for hook in hooks]
    assert "\nlint: style types\n" in MAKEFILE
    recipes = [MAKEFILE.partition(f"\n{target}:")[2].partition("\n\n")[0] for target in ("style", "types")]
    tools = [tool for recipe in recipes for tool in re.findall(r"\$\(python\) -m ([\w -]+)", recipe)]
    assert entries == [f".venv/bin/python -m {tool.replace(' --check', '').strip()}" for tool in tools]


def test_the_workflow_runs_make_test_on_every_supported_version_of_python() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    workflow = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets" not in text
    assert workflow["concurrency"]["cancel-in-progress"] is True
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    (command,) = [step["run"] for step in job["steps"] if "run" in step]
    assert command.startswith("make test ")
    torch = re.search(r"^TORCH \?= (\S+)$", MAKEFILE, re.MULTILINE)
    assert torch is not None
    assert f'TORCH="{torch[1]} --index-url ' in command


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_an_issue_form_is_valid(form: Path) -> None:
    """GitHub's syntax for issue forms: a form that breaks it is not offered."""
    content = read_yaml(form)
    assert content.keys() <= {"name", "description", "title", "labels", "assignees", "body"}
    assert {"name", "description", "body"} <= content.keys()
    fields = content["body"]
    assert {field["type"] for field in fields} <= FIELDS
    asked = [field for field in fields if field["type"] != "markdown"]
    assert asked
    ids = [field["id"] for field in asked]
    assert all(re.fullmatch(r"[\w-]+", name) for name in ids)
    assert all(first != second for first, second in pairwise(sorted(ids)))
    assert all(field["attributes"]["label"] for field in asked)
    assert all(set(field.get("validations", {})) <= {"required"} for field in asked)
    assert all(field["attributes"]["options"] for field in asked if field["type"] == "dropdown")
    assert all(field["attributes"]["value"] for field in fields if field["type"] == "markdown")


def test_the_command_in_the_bug_report_prints_the_versions() -> None:
    form = read_yaml(ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml")
    (field,) = [field for field in form["body"] if field.get("id") == "versions"]
    dollar, python, *arguments = shlex.split(field["attributes"]["value"])
    assert (dollar, python) == ("$", "python")
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    assert re.search(r" mtnat \d+\.\d+\.\d+ torch \d+\.\d+", done.stdout)
