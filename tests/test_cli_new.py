"""`mtnat new`, as a user calls it: the written study file runs as it is."""

from pathlib import Path

import pytest

from mtnat.cli import main
from mtnat.config import read_yaml
from mtnat.data.config import DataConfig
from mtnat.lab.study.draft import CPU, GPU, Size, draft, size_for
from mtnat.lab.study.reading import read_study

SIZES = [(size, has_gpu) for sizes, has_gpu in ((CPU, False), (GPU, True)) for size in sizes]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a corpus in `data/mine`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MTNAT_CACHE", str(tmp_path / "cache"))
    words = [f"{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}" for number in range(600)]
    for language in ("en", "de"):
        text = "".join(f"{language} {one} {other}\n" for one, other in zip(words, words[1:] + words[:1], strict=True))
        (tmp_path / f"all.{language}").write_text(text)
    assert main(["data", "split", "all.de", "all.en", "--output", "data/mine"]) == 0
    return tmp_path


@pytest.mark.parametrize(("size", "has_gpu"), SIZES)
def test_a_draft_of_every_size_is_a_valid_study(folder: Path, size: Size, has_gpu: bool) -> None:
    data = DataConfig(corpus="grammar-en-de", corpus_size=100, vocabulary_size=100)
    (folder / "x.yaml").write_text(draft("it: #1", data, 100, size, has_gpu=has_gpu, command="mtnat tune x.yaml"))
    study = read_study(folder / "x.yaml", 4, 1)
    assert set(study.baselines) == {"mask-predict", "importance annealing", "ctc"}
    assert study.search
    assert study.confirm
    assert study.experiment.seed not in study.confirm.seeds
    assert study.resources.gpus_per_worker == has_gpu
    assert (folder / "x.yaml").read_text().rstrip().endswith("mtnat tune x.yaml")


def test_every_corpus_has_a_size() -> None:
    sizes = [size_for(pairs, has_gpu=has_gpu).steps for has_gpu in (False, True) for pairs in (1, 30_000, 10**6, 10**9)]
    assert sizes == [400, 1_000, 1_000, 1_000, 3_000, 5_000, 30_000, 100_000]


def test_a_divided_text_keeps_its_direction(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "first", "--corpus", "mine"]) == 0
    out = capsys.readouterr().out
    assert "first.yaml: mine, " in out
    assert "de → en" in out
    assert out.endswith("mtnat tune first.yaml\n")
    study = read_study(folder / "first.yaml", 4, 0)
    assert study.experiment.data.train == ("mine/train.de.gz", "mine/train.en.gz")
    assert study.experiment.data.vocabulary_size < CPU[0].vocabulary_size  # the text supports no more
    assert (folder / "first.yaml").read_text().startswith("# yaml-language-server: $schema=file:///")


def test_without_a_corpus_the_embedded_one_is_used(folder: Path) -> None:
    assert main(["new", "any", "--output", "s.yaml"]) == 0
    assert read_study(folder / "s.yaml", 4, 0).experiment.data.corpus == "grammar-en-de"


def test_a_file_is_replaced_only_with_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.yaml").write_text("mine")
    assert main(["new", "x"]) == 2
    assert "x.yaml: already exists; give --force to replace it, or another --output." in capsys.readouterr().err
    assert (folder / "x.yaml").read_text() == "mine"
    assert main(["new", "x", "--force"]) == 0
    assert read_yaml(folder / "x.yaml")["question"]


def test_files_are_named_relative_to_the_folder_of_corpora_or_by_absolute_paths(folder: Path) -> None:
    inside = [f"data/mine/{{}}.{language}.gz" for language in ("de", "en")]
    train, valid = ([name.format(split) for name in inside] for split in ("train", "valid"))
    assert main(["new", "x", "--train", *train, "--valid", *valid, "--test", "all.de", "all.en"]) == 0
    data = read_study(folder / "x.yaml", 4, 0).experiment.data
    assert data.valid == ("mine/valid.de.gz", "mine/valid.en.gz")
    assert data.test == (str(folder / "all.de"), str(folder / "all.en"))


def test_original_file_names_and_given_languages_are_recognised(folder: Path) -> None:
    other = folder / "data" / "other"
    other.mkdir()
    for stem in ("train", "val", "test_2016_flickr", "test_2017_flickr"):
        for language in ("en", "de"):
            (other / f"{stem}.{language}").write_bytes((folder / f"all.{language}").read_bytes())
    for arguments, direction in ((["first"], ("en", "de")), (["second", "--languages", "de-en"], ("de", "en"))):
        assert main(["new", *arguments, "--corpus", "other"]) == 0
        data = read_study(folder / f"{arguments[0]}.yaml", 4, 0).experiment.data
        assert (data.valid, data.languages) == (tuple(f"other/val.{language}" for language in direction), direction)
        assert data.test == tuple(f"other/test_2016_flickr.{language}" for language in direction)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--corpus", "nowhere"], "--corpus nowhere: there is no folder"),
        (["--corpus", "part"], "lacks test.en[.gz], test.de[.gz]; `mtnat data split` divides one text into all three."),
        (["--corpus", "three"], "has training files in en, de, fr; give --languages, such as en-de"),
        (["--corpus", "none"], "has no training files such as train.en.gz"),
        (["--corpus", "mine", "--languages", "german"], "--languages german: must be two codes of languages"),
        (["--corpus", "mine", "--train", "all.de", "all.en"], "--corpus, --train: name the text twice; give one of them."),
        (["--train", "all.de", "all.en"], "--train: needs --valid and --test as well; `mtnat data split`"),
        (["--languages", "en-de"], "--languages: are those of --corpus"),
        (
            ["--train", "all.de", "no.en", "--valid", "all.de", "all.en", "--test", "all.de", "all.en"],
            "--train no.en: no such file",
        ),
        (
            ["--train", "short.de", "all.en", "--valid", "all.de", "all.en", "--test", "all.de", "all.en"],
            "data.train: both sides must have equally many lines",
        ),
        (["--output", "missing/x.yaml"], "missing/x.yaml: cannot be written"),
        (["--output", "x.txt"], "x.txt: must be the name of a .yaml file"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (folder / "short.de").write_text("eins\n")
    for name, files in {"part": ["train", "dev"], "three": ["train"], "none": []}.items():
        (folder / "data" / name).mkdir()
        for split in files:
            for language in ("en", "de", *(["fr"] if name == "three" else [])):
                (folder / "data" / name / f"{split}.{language}").write_text("text\n")
    capsys.readouterr()
    assert main(["new", "x", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (folder / "x.yaml").exists()


@pytest.mark.slow
def test_the_written_study_passes_a_dry_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "x", "--corpus", "mine"]) == 0
    assert main(["tune", "x.yaml", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert [word for word in ("mask-predict", "importance annealing", "ctc", "trial-01", "in all") if word not in out] == []


def test_a_file_whose_name_is_not_utf8_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "caf\udce9"]) == 0
    assert "mtnat tune" in (tmp_path / "caf\udce9.yaml").read_text()
