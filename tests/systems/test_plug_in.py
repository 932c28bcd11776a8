"""A system from another package, the example of docs/systems.md: it is installed, named in files, trained and studied."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtnat.config import read_yaml, to_yaml
from mtnat.systems.registry import BUILT_IN, kind_of

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nat-blocks"
EXPERIMENT = {
    "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300, "max_length": 64},
    "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 64},
    "system": {"kind": "blocks", "share": 0.7},
    "training": {
        "steps": 4,
        "warmup_steps": 1,
        "max_tokens_per_batch": 256,
        "log_every": 2,
        "validate_every": 2,
        "valid_sentences": 4,
    },
    "decoding": {"iterations": 2, "length_candidates": 2},
}


class Place:
    """A folder to work in, with packages installed into another folder."""

    def __init__(self, folder: Path, packages: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)]),
            "MTNAT_CACHE": str(folder / "cache"),
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def write(self, name: str, content: object) -> None:
        (self.folder / name).write_text(to_yaml(content))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        finished = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )
        return finished.returncode, finished.stdout, finished.stderr


def by_hand(packages: Path, module: str, code: str, entry: str) -> None:
    """Installs a module with an entry point as an installer would."""
    metadata = packages / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (packages / f"{module}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[mtnat.systems]\n{module} = {entry}\n")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example; nothing is downloaded."""
    project, target = tmp_path_factory.mktemp("example") / EXAMPLE.name, tmp_path_factory.mktemp("packages")
    shutil.copytree(EXAMPLE, project)  # pip leaves its build in the project's folder
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(project)], check=True)
    return target


@pytest.fixture
def place(tmp_path: Path, packages: Path) -> Place:
    return Place(tmp_path, packages)


def test_the_command_line_trains_and_translates_with_it(place: Place) -> None:
    place.write("blocks.yaml", EXPERIMENT)
    code, out, errors = place.run("-m", "mtnat", "train", "blocks.yaml", "--output", "run")
    assert code == 0, errors
    assert "valid BLEU" in out
    assert "left out:" not in errors
    saved = read_yaml(place.folder / "run" / "model" / "experiment.yaml")
    assert saved["system"] == {"kind": "blocks", "share": 0.7}
    (place.folder / "input.txt").write_text("The dog sees a cat.\n")
    code, out, errors = place.run("-m", "mtnat", "translate", "--model", "run/model", "input.txt")
    assert code == 0, errors
    assert out.count("\n") == 1


def test_its_study_file_is_valid(place: Place) -> None:
    code = "import sys, pathlib, mtnat.lab.study.reading as reading; reading.read_study(pathlib.Path(sys.argv[1]))"
    status, _, errors = place.run("-c", code, str(EXAMPLE / "blocks.yaml"))
    assert status == 0, errors


def test_its_settings_are_checked_like_any_others(place: Place) -> None:
    place.write("blocks.yaml", EXPERIMENT | {"system": {"kind": "blocks", "share": 2.0, "sahre": 0.1}})
    code, _, errors = place.run("-m", "mtnat", "train", "blocks.yaml")
    assert code == 2
    said = " ".join(errors.split())
    assert "system.share: must be less than or equal to 1; got 2.0." in said
    assert "system.sahre is unknown; did you mean 'share'?" in said
    place.write("blocks.yaml", EXPERIMENT | {"system": {"kind": "block"}})
    _, _, errors = place.run("-m", "mtnat", "train", "blocks.yaml")
    assert "system.kind: 'block' is unknown; did you mean 'blocks'?" in " ".join(errors.split())


@pytest.mark.slow
def test_it_can_be_held_to_the_contract(place: Place) -> None:
    """Some of the contract's tests, because `test_contract.py` runs all of them on three systems."""
    shutil.copy(EXAMPLE / "test_blocks.py", place.folder)
    code, out, errors = place.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "-k", "gradient or save or aligned", "test_blocks.py"
    )
    assert code == 0, out + errors


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_plans_it_and_its_ray_workers_train_it(place: Place) -> None:
    study = str(EXAMPLE / "blocks.yaml")
    code, out, errors = place.run(str(ROOT / "tune.py"), study, "--dry-run")
    assert code == 0, errors
    assert "share" in out
    code, out, errors = place.run(str(ROOT / "tune.py"), study, "--smoke")
    assert code == 0, out + errors
    runs = place.folder / "outputs" / "blocks-smoke" / "runs"
    trained = [read_yaml(path)["system"]["kind"] for path in runs.glob("*/experiment.yaml")]
    assert trained.count("blocks") >= 3
    assert trained.count("mask-predict") >= 1
    assert all((folder / "model").is_dir() for folder in runs.glob("*"))


HEAD = """
from typing import ClassVar, Literal
from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.systems import MaskPredict, System
"""
BAD = {
    "absent": ("import no_such_module", "absent:Mine", "it cannot be loaded (No module named 'no_such_module')"),
    "nameless": ("", "nameless:Mine", "it cannot be loaded (module 'nameless' has no attribute 'Mine')"),
    "strange": ("Mine = 1", "strange:Mine", "it must be a subclass of mtnat.systems.System"),
    "clashing": (
        HEAD + 'class Mine(MaskPredict):\n    kind: Literal["glat"] = "glat"',
        "clashing:Mine",
        "another system has the kind 'glat'",
    ),
    "search": (
        HEAD
        + 'class Mine(MaskPredict):\n    kind: Literal["mine"] = "mine"\n    decodings: ClassVar = (type("Own", (Decoding,), '
        + '{"__module__": __name__, "__annotations__": {"kind": Literal["ctc"]}, "kind": "ctc"}),)',
        "search:Mine",
        "another decoding has the kind 'ctc'",
    ),
    "untyped": (
        HEAD + 'class Mine(System):\n    decodings: ClassVar = (MaskPredictDecoding,)\n    kind: str = "mine"\n'
        "    def nat_branch(self, *_): ...",
        "untyped:Mine",
        'Mine needs a field such as kind: Literal["mine"] = "mine"',
    ),
    "abstract": (HEAD + 'class Mine(System):\n    kind: Literal["mine"] = "mine"', "abstract:Mine", "it lacks nat_branch"),
    "mute": (
        HEAD + 'class Mine(System):\n    kind: Literal["mine"] = "mine"\n    def nat_branch(self, *_): ...',
        "mute:Mine",
        "it needs decodings, a tuple of subclasses of mtnat.decoding.Decoding",
    ),
}
ASK = """
import json, warnings
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    from mtnat.systems.registry import BUILT_IN, SYSTEMS
print(json.dumps([sorted(str(each.message) for each in found if "is left out" in str(each.message)), SYSTEMS == BUILT_IN]))
"""


def test_a_system_that_cannot_be_used_is_left_out_with_a_warning(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    for module, (code, entry, _) in BAD.items():
        by_hand(packages, module, code, entry)
    place = Place(tmp_path, packages)
    status, out, errors = place.run("-c", ASK)
    assert status == 0, errors
    warned, is_built_in_alone = json.loads(out)
    assert warned == sorted(f"the system {entry} is left out: {problem}" for _, entry, problem in BAD.values())
    assert is_built_in_alone


def test_a_system_that_is_left_out_is_unknown_to_a_file(tmp_path: Path) -> None:
    by_hand(tmp_path / "packages", "mine", BAD["absent"][0], "mine:Mine")
    place = Place(tmp_path, tmp_path / "packages")
    place.write("mine.yaml", EXPERIMENT | {"system": {"kind": "mine"}})
    code, _, errors = place.run("-m", "mtnat", "train", "mine.yaml")
    assert code == 2
    assert "the system mine:Mine is left out: it cannot be loaded" in errors
    known = ", ".join(map(kind_of, BUILT_IN))
    assert f"system.kind: 'mine' is unknown; known here: {known}." in " ".join(errors.split())
