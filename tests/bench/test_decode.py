"""`bench decode` from the command line, on tiny untrained models."""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mtnat.cli import main
from mtnat.config import build
from mtnat.data import prepare
from mtnat.evaluation import bleu
from mtnat.experiment import Experiment
from mtnat.training import Model, load_model, save_model

KEYS = [
    "decoder",
    "search",
    "passes",
    "length_candidates",
    "beam",
    "rerank",
    "precision",
    "sentences_per_second",
    "latency_ms",
    "bleu",
    "decoder_passes_mean",
    "gflop_per_sentence",
    "matmul_gflops",
    "sentences",
    "device",
    "threads",
]
AT = [("at", "greedy", None, None, 1, None), ("at", "beam 5", None, None, 5, None)]
NAT = [
    ("nat", "1 pass", 1, 5, None, "none"),
    *[("nat", f"{passes} passes", passes, 5, None, "none") for passes in (2, 4, 10)],
    ("nat", "fast", 8, 4, None, "none"),
    ("nat", "fastest", 4, 3, None, "none"),
]
RERANKED = [(*system[:5], "at") for system in NAT[:-1]]
SHARES_OF_NAT = {"both": 0.5, "at": 0.0, "nat": 1.0}
SHORT = ["--sentences", "3", "--latency-sentences", "2"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that has both decoders, and a model with each decoder only."""
    folder = tmp_path_factory.mktemp("models")
    for name, share in SHARES_OF_NAT.items():
        sizes = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 32}
        parts = {
            "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300, "max_length": 32},
            "model": sizes,
            "objective": {"schedule": {"kind": "constant", "value": share}},
            "training": {},
        }
        experiment = build(Experiment, parts)
        vocabularies = prepare(experiment.data).vocabularies
        torch.manual_seed(1)
        save_model(Model(experiment, experiment.build_translator(vocabularies), vocabularies), folder / name)
    return folder


@pytest.fixture(scope="module")
def falling_back(models: Path) -> Path:
    """The model with both decoders, whose decoding leaves every sentence to the AT decoder."""
    both = load_model(models / "both")
    decoding = both.experiment.decoding.model_copy(update={"fallback_below": 0.0, "beam": 1, "length_candidates": 2})
    experiment = both.experiment.model_copy(update={"decoding": decoding})
    save_model(Model(experiment, both.translator, both.vocabularies), models / "fallback")
    return models / "fallback"


def rows(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    """Returns the JSON lines, which must be the only output on standard output, and the notes on standard error."""
    assert main(["bench", "decode", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err


@pytest.mark.parametrize(
    ("name", "systems", "missing"), [("both", [*AT, *NAT, *RERANKED], ""), ("nat", NAT, "AT"), ("at", AT, "NAT")]
)
def test_a_model_has_a_row_for_each_search_that_it_supports(
    models: Path, capsys: pytest.CaptureFixture[str], name: str, systems: list[tuple[object, ...]], missing: str
) -> None:
    found, notes = rows(["--model", str(models / name), *SHORT], capsys)
    assert [list(row) for row in found] == [KEYS] * len(systems)
    assert [tuple(row.values())[:6] for row in found] == systems
    assert ("the model has no" in notes) == bool(missing)
    assert f"the model has no {missing} decoder; searches that need one are left out" in notes or not missing
    for row in found:
        assert row["precision"] == "fp32" or row["search"] in ("fast", "fastest")
        assert min(row[name] for name in KEYS if name.endswith(("per_second", "_ms", "_sentence", "_gflops"))) > 0
        assert 0 <= row["bleu"] <= 100
        assert 1 <= row["decoder_passes_mean"] <= (row["passes"] or 100)
        assert (row["sentences"], row["threads"]) == (3, torch.get_num_threads())
    assert sum(row["decoder_passes_mean"] == 1 for row in found if row["passes"] == 1) == {"both": 2, "nat": 1, "at": 0}[name]


def test_work_grows_with_passes_beam_and_reranking(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = rows(["--model", str(models / "both"), *SHORT], capsys)
    work = [row["gflop_per_sentence"] for row in found]
    assert work[0] < work[1]
    for start in (2, 8):
        assert work[start : start + 4] == sorted(work[start : start + 4])
        assert work[start + 4] < work[start + 3]
    assert work[7] < work[6]
    assert all(reranked > plain for plain, reranked in zip(work[2:7], work[8:], strict=True))


def test_lines_of_files_are_scored(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["The dog sleeps.", "", "She sees him and " * 20, "The dog sleeps."]
    model = load_model(models / "both")
    greedy = model.experiment.decoding.model_copy(update={"beam": 1})
    translations = [line.text for line in model.translate(lines, greedy, "at")]
    (tmp_path / "source.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    (tmp_path / "reference").write_text("".join(f"{line}\n" for line in translations))
    files = ["--source", str(tmp_path / "source.gz"), "--reference", str(tmp_path / "reference")]
    settings = ["--rounds", "2", "--threads", "1", "--precision", "bf16", "--latency-sentences", "1"]
    found, notes = rows(["--model", str(models / "at"), *files, *settings], capsys)
    assert {(row["sentences"], row["threads"], row["precision"]) for row in found} == {(4, 1, "bf16")}
    assert f": {bleu(lines, lines).signature}" in notes
    assert "round 2 of 2: AT, beam 5: " in notes
    found, _ = rows(["--model", str(models / "both"), *files, "--latency-sentences", "1"], capsys)
    assert found[0]["bleu"] == 100


def test_the_default_output_is_a_table_and_a_picture(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.png"
    assert main(["bench", "decode", "--model", str(models / "both"), *SHORT, "--picture", str(picture)]) == 0
    captured = capsys.readouterr()
    assert "sentences per second" in captured.out
    assert "NAT, 1 pass, reranked" in captured.out
    assert f"picture: {picture}" in captured.err
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[-8:-4] == b"IEND"
    assert len(data) > 10_000


@pytest.mark.parametrize(("suffix", "beginning"), [(".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_pictures_of_other_kinds_and_of_one_decoder(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, beginning: bytes
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"picture{suffix}"
    rows(["--model", str(models / "at"), *SHORT, "--picture", str(picture)], capsys)
    assert picture.read_bytes().startswith(beginning)


def test_every_search_is_in_the_picture(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.svg"
    rows(["--model", str(models / "both"), *SHORT, "--picture", str(picture)], capsys)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text())
    labels = ["greedy", "beam 5", "fastest", *2 * ["1 pass", "2 passes", "4 passes", "10 passes", "fast"]]
    legend = ["AT", "NAT", "NAT, reranked by AT"]
    assert sorted(text for text in texts if text in {*labels, *legend}) == sorted([*labels, *legend])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nowhere"], "nowhere: is not a model folder"),
        (["--sentences", "0"], "sentences: must be greater than or equal to 1; got 0"),
        (["--rounds", "0"], "rounds: must be greater than or equal to 1; got 0"),
        (["--source", "short"], "--source: needs --reference as well; give both"),
        (["--source", "nowhere", "--reference", "short"], "--source nowhere: no such file; give a text file"),
        (["--source", "short", "--reference", "long"], "must have equally many lines; got 1 and 2"),
        (["--source", "empty", "--reference", "empty"], "the source contains no text"),
        (["--picture", "picture.jpeg"], "--picture picture.jpeg: must end with .png, .svg or .pdf"),
        (["--picture", "nowhere/picture.png"], "--picture nowhere/picture.png: cannot be written (No such file or directory)"),
    ],
)
def test_bad_input_gives_one_message_and_exit_code_2(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"short": "one\n", "long": "one\ntwo\n", "empty": ""}.items():
        Path(name).write_text(text)
    assert main(["bench", "decode", "--model", str(models / "both"), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "long", "short"]


def test_without_matplotlib_a_picture_is_refused_at_once(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "decode", "--model", str(models / "both"), "--picture", str(tmp_path / "picture.png")]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (
        "",
        "mtnat: --picture: needs matplotlib; install mtnat[study], or leave the option out.\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_decoding_with_a_fallback_has_a_row_with_the_work_of_both_decoders(
    falling_back: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = rows(["--model", str(falling_back), *SHORT], capsys)
    by_search = {(row["decoder"], row["search"], row["rerank"]): row for row in found}
    at, nat = by_search["at", "greedy", None], by_search["nat", "10 passes", "none"]
    fallback = by_search["nat", "fallback", "none"]
    assert found[-1] == fallback
    assert fallback["bleu"] == at["bleu"]
    assert fallback["decoder_passes_mean"] > at["decoder_passes_mean"] >= 1
    assert at["gflop_per_sentence"] < fallback["gflop_per_sentence"] < at["gflop_per_sentence"] + nat["gflop_per_sentence"]
