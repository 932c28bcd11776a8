"""`mtnat similarity`, as a user calls it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mtnat.cli import main
from mtnat.data import Vocabularies, Vocabulary
from mtnat.training import load_model, save_model

LINES = ["The old cat sees a green house.", "A dog.", "", "The dog sees the cat and the house.", "A cat sleeps."] * 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """Three models, of which `foreign` has another vocabulary, and texts."""
    folder = tmp_path_factory.mktemp("similarity")
    loaded = load_model(model)
    save_model(loaded, folder / "one")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in loaded.translator.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * weight.std(correction=0))
    save_model(loaded, folder / "two")
    words = [f"{first}{second}{third}" for first in "thecatdogsy" for second in "aeiou" for third in "stnrl.,"]
    vocabulary = Vocabulary.train([" ".join(words)] * 3, len(loaded.vocabularies.source))
    save_model(replace(loaded, vocabularies=Vocabularies(vocabulary, vocabulary, joint=True)), folder / "foreign")
    (folder / "text.en").write_text("".join(f"{line}\n" for line in LINES))
    (folder / "empty.en").write_text("\n \n")
    (folder / "word.en").write_text("dog\n")
    return folder


def arguments(place: Path, *more: str, models: tuple[str, ...] = ("one", "two"), text: str = "text.en") -> list[str]:
    return ["similarity", *(f"--model={place / name}" for name in models), "--text", str(place / text), *more]


def test_the_top_layers_of_all_pairs_are_shown_in_a_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(place, models=("one", "two", "one"))) == 0
    captured = capsys.readouterr()
    number = r"\d\.\d{3}"
    rows = re.findall(rf"^(.–.) +{number} +{number} +{number} +{number} +\d+/\d+ +({number})/{number} ", captured.out, re.M)
    assert [name for name, _ in rows] == ["A–B", "A–C", "B–C"]
    assert [value == "1.000" for _, value in rows] == [False, True, False]
    assert "160 sentences, compared by" in captured.out
    assert f"B     {place}/two: 1 encoder layers, width 16" in captured.out
    assert captured.err == "left out: 40 of 200 sentences, empty\n"


def test_json_has_every_figure(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(place, "--json", "--sentences", "100", "--variance", "0.9")) == 0
    found = json.loads(capsys.readouterr().out)
    [pair] = found.pop("pairs")
    assert found == {
        "text": str(place / "text.en"),
        "sentences": 80,
        "empty": 20,
        "too_long": 0,
        "unit": "piece",
        "variance": 0.9,
    }
    assert (pair["models"], pair["layers"]) == ([f"{place}/one", f"{place}/two"], [1, 1])
    lengths = [len(row) for row in load_model(place / "one").vocabularies.source.encode(LINES[:100])]
    assert pair["observations"] == sum(lengths)
    measures = [pair["mean_cca"], pair["svcca"], *pair["pwcca"], pair["cka"]]
    assert all(0 < value < 1 for value in measures)
    assert 0 < pair["mean_cca_chance"] < pair["mean_cca"]
    assert pair["ranks"] == [15, 15]  # the layer normalisation removes a direction
    assert all(kept < 15 for kept in pair["svcca_directions"])


def test_all_layers_are_shown_in_a_matrix_for_each_measure(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(place, "--layers", "all", models=("one", "one"))) == 0
    out = capsys.readouterr().out
    measures = ("mean CCA", "SVCCA", "PWCCA", "CKA")
    assert [line for line in out.splitlines() if "in rows" in line] == [
        f"{measure}: layers of A in rows, layers of B in columns" for measure in measures
    ]
    assert len(re.findall(r"^0 +1\.000  0\.\d{3}$", out, re.M)) == len(re.findall(r"^1 +0\.\d{3}  1\.000$", out, re.M)) == 4
    assert "chance: at most 0." in out


def test_models_of_different_vocabularies_need_the_unit_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ("one", "foreign")
    assert main(arguments(place, models=models)) == 2
    captured = capsys.readouterr()
    assert (
        f"unit piece: {place}/one and {place}/foreign have different source vocabularies; give --unit sentence" in captured.err
    )
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert main(arguments(place, "--unit", "sentence", models=models)) == 0
    assert "160 sentences, compared by means over the pieces of each sentence" in capsys.readouterr().out


def test_few_observations_are_noted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(place, "--unit", "sentence", "--sentences", "5", "--json")) == 0
    captured = capsys.readouterr()
    assert "few observations: 4 sentences for 16 dimensions inflate the measures of CCA" in captured.err
    assert "give text of at least 160 sentences" in captured.err
    assert json.loads(captured.out)["pairs"][0]["mean_cca_chance"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("layers", "labels"), [("top", ["A", "B", "model"]), ("all", ["0", "1", "layers of A", "layers of B"])], ids=["top", "all"]
)
def test_pictures_show_every_measure(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layers: str, labels: list[str]
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.svg"
    assert main(arguments(place, "--layers", layers, "--picture", str(picture))) == 0
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text())
    assert {"mean CCA", "SVCCA", "PWCCA", "CKA", *labels} <= set(texts)
    assert f"picture: {picture}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--model FOLDER/one --text FOLDER/text.en", "--model: must be given 2 to 26 times; got 1."),
        ("--model FOLDER/one --model nowhere --text FOLDER/text.en", "nowhere: is not a model folder"),
        ("PAIR --text nowhere.en", "--text nowhere.en: no such file; give a text file, plain or .gz."),
        ("PAIR --text FOLDER", "FOLDER: cannot be read"),
        ("PAIR --text FOLDER/empty.en", "--text FOLDER/empty.en: contains no text; give at least two sentences."),
        ("PAIR --text FOLDER/word.en --unit sentence", "similarity: needs at least two observations; got 1"),
        ("PAIR --text FOLDER/text.en --sentences 1", "--sentences: must be at least 2; got 1."),
        ("PAIR --text FOLDER/text.en --variance 0", "--variance: must be above 0 and at most 1; got 0."),
        ("PAIR --text FOLDER/text.en --variance nan", "--variance: must be above 0 and at most 1; got nan."),
        ("PAIR --text FOLDER/text.en --picture x.jpeg", "--picture x.jpeg: must end with .png, .svg or .pdf"),
    ],
)
def test_bad_input_of_similarity_gives_one_message_and_exit_code_2(
    place: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    words = given.replace("PAIR", "--model FOLDER/one --model FOLDER/two").replace("FOLDER", str(place)).split()
    assert main(["similarity", *words]) == 2
    captured = capsys.readouterr()
    problems = [line for line in captured.err.splitlines() if line.startswith("mtnat: ")]
    assert len(problems) == 1
    assert said.replace("FOLDER", str(place)) in problems[0]
    assert captured.out == ""
