"""`mtnat data select` and `mtnat distil --rejuvenate`, as a user calls them."""

import gzip
from pathlib import Path

import pytest

from mtnat.cli import main
from mtnat.config import read_yaml, to_yaml
from mtnat.data.corpus import open_raw_corpus
from mtnat.training import load_model

PAIRS = 300


def test_data_is_rejuvenated_by_three_commands(
    model: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    active, rewritten = tmp_path / "new" / "active.gz", tmp_path / "rejuvenated.de"
    options = ["data", "select", "--model", str(model), "--inactive", "0.2"]
    assert main([*options, "--output", str(active), "--scores", str(tmp_path / "scores")]) == 0
    said = capsys.readouterr().err
    assert "60 of 300 pairs are left out by" in said
    assert f"data: {{selected: {active}}}" in said
    selection = gzip.decompress(active.read_bytes()).decode().split()
    scores = [float(line) for line in (tmp_path / "scores").read_text().split()]
    left_out = sorted(range(PAIRS), key=lambda line: scores[line])[:60]
    assert [line for line in range(PAIRS) if selection[line] == "0"] == sorted(left_out)

    experiment = read_yaml(tiny_run.parent / "tiny.yaml")
    data = {**experiment["data"], "selected": str(active)}
    (tmp_path / "active.yaml").write_text(to_yaml({**experiment, "data": data}))
    assert main(["train", str(tmp_path / "active.yaml"), "--output", str(tmp_path / "active")]) == 0
    assert "240 training pairs" in capsys.readouterr().err

    trained = str(tmp_path / "active" / "model")
    assert main(["distil", "--rejuvenate", "--model", trained, "--beam", "1", "--output", str(rewritten)]) == 0
    said = capsys.readouterr().err
    assert "60 of 300 targets rewritten in" in said
    assert f"data: {{rejuvenated: {rewritten}}}" in said
    corpus = open_raw_corpus(load_model(model).experiment.data, tmp_path)
    own = [target for _, target in corpus.pairs("train")]
    found = rewritten.read_text().split("\n")[:-1]
    assert [line for line in range(PAIRS) if own[line] != found[line]] == sorted(left_out)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["data", "select", "--inactive", "1"], "--inactive: must be above 0 and below 1; got 1."),
        (["data", "select", "--scores", "{file}/scores"], "--scores {file}/scores: cannot be written"),
        (
            ["distil", "--rejuvenate"],
            "--rejuvenate: the model was trained on all pairs; give one that was trained with data.selected.",
        ),
        (
            ["distil", "--rejuvenate", "--source", "x"],
            "--rejuvenate: rewrites targets of the model's own training text; drop --source.",
        ),
    ],
)
def test_wrong_input_gives_one_message(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("")
    given = [word.format(file=tmp_path / "file") for word in command]
    assert main([*given, "--model", str(model), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said.format(file=tmp_path / "file") in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
