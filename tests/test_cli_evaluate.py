"""`python -m mtnat evaluate`, as a user calls it."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mtnat.cli import main
from mtnat.data import prepare
from mtnat.evaluation import bleu, chrf, paired_bootstrap, ter
from mtnat.evaluation.tokenized import tokenized_bleu
from mtnat.training import load_model

EXPERIMENT = """
data: {{corpus: grammar-en-de, corpus_size: 300, vocabulary_size: 300}}
model: {{width: 16, heads: 2, feed_forward: 32, encoder_layers: 1, decoder_layers: 1, dropout: 0.1, max_positions: 128}}
objective: {{schedule: {{kind: constant, value: {weight}}}}}
training: {{steps: 4, warmup_steps: 1, max_tokens_per_batch: 256, validate_every: 4, valid_sentences: 4}}
decoding: {{iterations: 2, length_candidates: 2}}
"""
SOURCES = ["The dog sleeps.", "She sees him.", "a " * 15]
REFERENCES = ["Der Hund schläft.", "Sie sieht ihn.", "ein " * 15]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, `multi` and `nat`, and a small test set."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name, weight in (("multi", 0.5), ("nat", 1.0)):
        (folder / f"{name}.yaml").write_text(EXPERIMENT.format(weight=weight))
        assert main(["train", str(folder / f"{name}.yaml"), "--output", str(folder / name)]) == 0
    (folder / "source.en").write_text("".join(f"{line}\n" for line in SOURCES))
    (folder / "reference.de.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in REFERENCES).encode()))
    (folder / "short.de").write_text("Der Hund schläft.\n")
    (folder / "empty.de").write_text("")
    (folder / "blank.de").write_text("\n\n \n")
    return folder


def arguments(folder: Path, *more: str, name: str = "multi") -> list[str]:
    return ["evaluate", "--model", str(folder / name / "model"), *more]


def files(folder: Path) -> list[str]:
    return ["--source", str(folder / "source.en"), "--reference", str(folder / "reference.de.gz")]


def record(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the output of `--json`: one object and nothing else."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_models_own_test_set_is_scored(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "hypotheses.de"
    assert main(arguments(folder, "--json", "--output", str(output))) == 0
    found, text = record(capsys), output.read_text(encoding="utf-8")
    model = load_model(folder / "multi" / "model")
    test = prepare(model.experiment.data).test
    hypotheses = [line.text for line in model.translate(test.sources)]
    assert text == "".join(f"{line}\n" for line in hypotheses)
    assert (found["test_set"], found["sentences"]) == ("grammar-en-de (test)", 500)
    for name, score in (("bleu", bleu), ("chrf", chrf), ("ter", ter)):
        assert found["model"][name] == vars(score(hypotheses, test.references))
    assert sum(bucket["sentences"] for bucket in found["model"]["bleu_by_length"]) == 500
    assert [bucket["shortest"] for bucket in found["model"]["bleu_by_length"]] == [1, 11]


def test_json_holds_every_figure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, *files(folder), "--json", "--iterations", "1")) == 0
    found = record(capsys)
    assert set(found) == {"test_set", "sentences", "model"}
    model = found["model"]
    assert set(model) == (
        {"name", "bleu", "chrf", "ter", "bleu_by_length", "lengths", "repeated", "repeated_in_references"}
        | {"passes", "fallback", "seconds", "sentences_per_second", "decoder", "decoding"}
    )
    assert set(model["bleu"]) == {"value", "signature"}
    assert set(model["lengths"]) == {"exact", "near", "ratio"}
    assert (model["decoder"], model["decoding"]["iterations"], model["passes"]) == ("nat", 1, 1)
    assert [bucket["sentences"] for bucket in model["bleu_by_length"]] == [2, 1]
    assert model["sentences_per_second"] == pytest.approx(3 / model["seconds"])
    pieces = load_model(folder / "multi" / "model").vocabularies.target.encode(REFERENCES)
    repeats = sum(row[i] == row[i - 1] for row in pieces for i in range(1, len(row)))
    assert model["repeated_in_references"] == pytest.approx(repeats / sum(map(len, pieces)))


def test_two_models_are_compared(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, output = folder / "nat" / "model", tmp_path / "out.de"
    assert main(arguments(folder, *files(folder), "--against", str(other), "--json", "--output", str(output))) == 0
    found = record(capsys)
    assert set(found["comparison"]) == {"bleu", "chrf", "ter"}
    system = output.read_text(encoding="utf-8").split("\n")[:-1]
    baseline = [line.text for line in load_model(other).translate(SOURCES)]
    for metric in ("bleu", "chrf", "ter"):
        expected = paired_bootstrap(system, baseline, REFERENCES, metric=metric)
        assert set(found["comparison"][metric]) == {"difference", "low", "high", "p_value"}
        assert found["comparison"][metric]["p_value"] == expected.p_value
        assert found["model"][metric]["value"] - found["against"][metric]["value"] == pytest.approx(expected.difference)


def test_the_default_output_is_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, *files(folder), "--decoder", "at", "--beam", "1")) == 0
    out = capsys.readouterr().out
    for said in (
        "at decoder: beam 1",
        "BLEU, 1–10 words (2)",
        "BLEU, 11–20 words (1)",
        "sentences per second",
        "tok:13a",
    ):
        assert said in out
    assert "against" not in out


def test_the_share_of_the_at_decoder_is_shown_if_there_is_a_fallback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The only score of 0 or more is that of a certain translation, so a threshold of 0 leaves all of them to beam search."""
    at_alone = arguments(folder, *files(folder), "--json", "--decoder", "at", "--beam", "1")
    assert main(at_alone) == 0
    at = record(capsys)["model"]
    fallback = arguments(folder, *files(folder), "--beam", "1", "--set", "fallback_below=0.0")
    assert main([*fallback, "--json"]) == 0
    model = record(capsys)["model"]
    assert (at["fallback"], model["fallback"], model["decoder"]) == (0, 1, "nat")
    assert model["bleu"] == at["bleu"]
    assert at["passes"] < model["passes"] <= at["passes"] + 2
    assert main(fallback) == 0
    shown = capsys.readouterr().out
    assert re.search(r"translated by AT +100\.0%", shown)
    assert "fallback below 0.0" in shown


def test_two_models_are_shown_in_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = str(folder / "multi" / "model")
    assert main(arguments(folder, *files(folder), "--against", same, "--preset", "fast")) == 0
    out = capsys.readouterr().out
    assert "95 % interval" in out
    assert out.count("+0.00 to +0.00  1.000") == 3
    assert out.count("narrow after 1, narrow to 2, precision auto") == 2
    assert "it compares these two models, not their seeds" in out


def model_of_files(folder: Path, name: str, source: Path, target: Path) -> Path:
    """Copies the multi-task model, as if trained on two files instead of the embedded corpus."""
    model = folder / name
    shutil.copytree(folder / "multi" / "model", model)
    text = (model / "experiment.yaml").read_text()
    pairs = "".join(f"  {split}: [{source}, {target}]\n" for split in ("train", "valid", "test"))
    lines = [line for line in text.split("\n") if line.strip() not in ("train: null", "valid: null", "test: null")]
    (model / "experiment.yaml").write_text("\n".join(lines).replace("  corpus: grammar-en-de\n", pairs))
    return model


def test_tokenized_bleu_is_reported_beside_sacrebleu(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder / "nat" / "model"
    assert main(arguments(folder, *files(folder), "--against", str(other), "--tokenized", "--json")) == 0
    found = record(capsys)
    for role, model in (("model", folder / "multi" / "model"), ("against", other)):
        hypotheses = [line.text for line in load_model(model).translate(SOURCES)]
        assert found[role]["bleu"] == vars(bleu(hypotheses, REFERENCES))
        assert found[role]["tokenized_bleu"] == vars(tokenized_bleu(hypotheses, REFERENCES, "de"))
        assert found[role]["tokenized_bleu_lowercase"] == vars(tokenized_bleu(hypotheses, REFERENCES, "de", lowercase=True))
    assert set(found["comparison"]) == {"bleu", "chrf", "ter"}


def test_the_table_shows_the_signature_of_each_bleu(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, *files(folder), "--tokenized", "--languages", "en-cs")) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^tokenized BLEU +nrefs:1\|case:mixed\|eff:no\|tok:moses-cs\|escape:no\|compounds:whole", out, re.MULTILINE
    )
    assert re.search(r"^tokenized, lower-cased +nrefs:1\|case:lc\|eff:no\|tok:moses-cs", out, re.MULTILINE)
    assert re.search(r"^BLEU +nrefs:1\|case:mixed\|eff:no\|tok:13a", out, re.MULTILINE)
    assert len(re.findall(r"^tokenized BLEU +\d+\.\d\d$", out, re.MULTILINE)) == 1


def test_tokenized_bleu_of_an_unknown_target_language_needs_the_languages_option(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the files of the model nor those of the test set have languages in their names."""
    model = model_of_files(folder, "nameless", folder / "text.src", folder / "text.tgt")
    for side, sentences in (("src", SOURCES), ("tgt", REFERENCES)):
        (folder / f"text.{side}").write_text("".join(f"{line}\n" for line in sentences))
    own = ["evaluate", "--model", str(model), "--tokenized"]
    assert main(own) == 2
    captured = capsys.readouterr()
    assert "--tokenized: no file name states the target language; give both, such as --languages en-de." in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert main([*own, "--languages", "en-de", "--json"]) == 0
    assert "tok:moses-de" in record(capsys)["model"]["tokenized_bleu"]["signature"]
    assert main([*own, *files(folder), "--json"]) == 0  # reference.de.gz
    assert "tok:moses-de" in record(capsys)["model"]["tokenized_bleu"]["signature"]


def test_a_named_set_is_read_from_sacrebleus_folder(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "wmt20" / "robust" / "set1"
    place.mkdir(parents=True)
    (place / "wmt20_robust_set1.en-de.src").write_text("".join(f"{line}\n" for line in SOURCES))
    (place / "wmt20_robust_set1.en-de.ref").write_text("".join(f"{line}\n" for line in REFERENCES))
    command = arguments(folder, "--test-set", "wmt20/robust/set1", "--languages", "en-de", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "mtnat", *command],
        env={**os.environ, "SACREBLEU": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert (found["test_set"], found["sentences"]) == ("wmt20/robust/set1 en-de", 3)
    assert done.stderr == b""


def test_a_named_set_that_cannot_be_downloaded_gives_one_message(folder: Path, tmp_path: Path) -> None:
    command = arguments(folder, "--test-set", "wmt14/full", "--languages", "en-de")
    no_server = "http://127.0.0.1:9"  # the discard port, on which no server listens
    env = {**os.environ, "SACREBLEU": str(tmp_path), "https_proxy": no_server, "http_proxy": no_server, "no_proxy": ""}
    done = subprocess.run([sys.executable, "-m", "mtnat", *command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("mtnat: --test-set wmt14/full: cannot be fetched (")
    assert f"put it into {tmp_path}/wmt14/full" in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--source FOLDER/source.en", "--source: needs --reference as well"),
        ("--languages en-de", "--languages: needs --test-set as well"),
        ("--source FOLDER/source.en --test-set wmt14", "--source, --test-set: name more than one test set"),
        ("--split valid --source FOLDER/source.en", "--split, --source: name more than one test set"),
        ("--source nowhere.en --reference FOLDER/short.de", "--source nowhere.en: no such file"),
        ("--source FOLDER/source.en --reference FOLDER/short.de", "both sides must have equally many lines; got 3 and 1"),
        ("--source FOLDER/empty.de --reference FOLDER/empty.de", "the source contains no text"),
        ("--source FOLDER/source.en --reference FOLDER/blank.de", "the reference contains no text"),
        ("--source FOLDER --reference FOLDER/short.de", "cannot be read"),
        (
            "--test-set wmt14/ful --languages en-de",
            "--test-set wmt14/ful: is not a test set of sacreBLEU; did you mean 'wmt14/full'?",
        ),
        (
            "--test-set wmt14/full --languages en-xx",
            "--languages en-xx: wmt14/full has no such pair; give one of cs-en, de-en,",
        ),
        ("--test-set wmt20 --languages en-zh", "--languages en-zh: sacreBLEU uses a special tokenizer for that target"),
        ("--output FOLDER/nowhere/out.de", "FOLDER/nowhere/out.de: cannot be written (No such file or directory)"),
        ("--output FOLDER", "--output FOLDER: cannot be written (Is a directory)"),
        ("--against nowhere", "nowhere: is not a model folder"),
        (
            "--against FOLDER/nat/model --decoder at",
            "FOLDER/nat/model: --decoder at: the model was trained without that decoder",
        ),
        ("--tokenized --languages german", "--languages german: must be a pair of codes, such as en-de."),
        ("--tokenized --languages en-zh", "tokenized BLEU: Moses' tokenizer does not support 'zh'"),
        ("--iterations 0", "iterations: must be greater than or equal to 1; got 0"),
    ],
)
def test_bad_input_of_evaluate_gives_one_message_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    assert main(arguments(folder, *given.replace("FOLDER", str(folder)).split())) == 2
    captured = capsys.readouterr()
    assert said.replace("FOLDER", str(folder)) in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_unequal_files_of_the_experiment_give_one_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The corpus has changed after the training: the test set has lost lines, then a side."""
    for reference, said in (("short.de", "both sides must have equally many lines"), ("gone.de", "gone.de: no such file")):
        model = model_of_files(folder, f"of {reference}", folder / "source.en", folder / reference)
        assert main(["evaluate", "--model", str(model)]) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_a_failed_evaluation_leaves_no_new_output_and_keeps_an_old_output(folder: Path, tmp_path: Path) -> None:
    """A zero-width space counts as text until the vocabulary removes it, so the failure comes after translating."""
    (tmp_path / "nothing.de").write_text("\u200b\n" * 3, encoding="utf-8")
    common = arguments(folder, "--source", str(folder / "source.en"), "--reference", str(tmp_path / "nothing.de"), "--output")
    old, new = tmp_path / "old.de", tmp_path / "new.de"
    old.write_text("precious\n")
    assert main([*common, str(old)]) == main([*common, str(new)]) == 2
    assert old.read_text() == "precious\n"
    assert not new.exists()


def test_the_test_set_is_not_overwritten(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the files of the options nor those that the model's own experiment names."""
    for name in ("source.en", "reference.de.gz"):
        shutil.copy(folder / name, tmp_path / name)
    paths = [tmp_path / "source.en", tmp_path / "reference.de.gz"]
    before = [path.read_bytes() for path in paths]
    own = model_of_files(folder, "of its own files", *paths)
    for path in paths:
        assert main(arguments(folder, "--source", str(paths[0]), "--reference", str(paths[1]), "--output", str(path))) == 2
        assert f"--output {path}: is also an input" in capsys.readouterr().err
        assert main(["evaluate", "--model", str(own), "--output", str(path)]) == 2
        assert f"--output {path}: is also an input" in capsys.readouterr().err
    assert [path.read_bytes() for path in paths] == before


def test_an_output_in_ascii_has_question_marks(folder: Path) -> None:
    command = [sys.executable, "-m", "mtnat", *arguments(folder, *files(folder))]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"BLEU" in done.stdout
    assert b" ? " in done.stdout  # the arrow between the names of the files
