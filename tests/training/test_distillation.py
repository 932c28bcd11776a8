"""A teacher's text does not depend on the processes that write it, and students train on it."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from mtnat.config import build
from mtnat.data import DataConfig, check, prepare
from mtnat.data.corpus import open_raw_corpus
from mtnat.decoding import MaskPredictDecoding
from mtnat.errors import DataError, ModelError
from mtnat.formats import FORMAT_FILE
from mtnat.training import Distillation, file_sources, load_model, training_sources

GREEDY = MaskPredictDecoding(beam=1)
LINES, SHARD = 130, 20
WORKER = """
import sys
from pathlib import Path
import torch
from mtnat.decoding import MaskPredictDecoding
from mtnat.training import Distillation, file_sources
torch.set_num_threads(1)
teacher, text, cache = map(Path, sys.argv[1:4])
for number in Distillation(
    teacher, file_sources(text), MaskPredictDecoding(beam=1), lines_per_shard=int(sys.argv[4]), cache=cache
).work():
    print(number, flush=True)
"""


@pytest.fixture
def text(tmp_path: Path, model: Path) -> Path:
    """Lines of the tiny model's own corpus, one of them empty."""
    pairs = open_raw_corpus(load_model(model).experiment.data, tmp_path).pairs("train")
    lines = [source for source, _ in islice(pairs, LINES)]
    lines[7] = ""
    path = tmp_path / "text.en"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def distil(model: Path, text: Path, cache: Path) -> bytes:
    """The text that one undisturbed process writes."""
    distillation = Distillation(model, file_sources(text), GREEDY, lines_per_shard=SHARD, cache=cache)
    assert sorted(distillation.work()) == list(range(7))
    return distillation.targets.read_bytes()


def worker(model: Path, text: Path, cache: Path, shard: int = SHARD) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(model), str(text), str(cache), str(shard)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)


def test_each_line_becomes_the_teachers_translation(model: Path, text: Path, tmp_path: Path) -> None:
    written = gzip.decompress(distil(model, text, tmp_path / "one")).decode().split("\n")[:-1]
    lines = text.read_text().split("\n")[:-1]
    teacher = load_model(model)
    assert written[7] == ""
    assert written == [line.text for line in teacher.translate(lines, GREEDY, "at")]


def test_two_processes_share_the_shards_and_write_the_same_text(model: Path, text: Path, tmp_path: Path) -> None:
    processes = [worker(model, text, tmp_path / "two") for _ in range(2)]
    done = [[int(line) for line in process.communicate(timeout=120)[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(done[0] + done[1]) == list(range(7))  # each shard once
    both = Distillation(model, file_sources(text), GREEDY, lines_per_shard=SHARD, cache=tmp_path / "two")
    assert both.is_complete
    assert both.targets.read_bytes() == distil(model, text, tmp_path / "one")


def test_a_killed_process_loses_only_its_unfinished_shard(model: Path, text: Path, tmp_path: Path) -> None:
    cache, shard, shards = tmp_path / "killed", 2, 65  # many shards, so that no slow test kills too late
    process = worker(model, text, cache, shard)
    assert process.stdout is not None
    first = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = Distillation(model, file_sources(text), GREEDY, lines_per_shard=shard, cache=cache)
    assert first == 0
    assert not killed.is_complete
    before = killed.done
    assert before >= 1
    assert sorted(killed.work()) == list(range(before, shards))
    whole = Distillation(model, file_sources(text), GREEDY, lines_per_shard=shard, cache=tmp_path / "one")
    assert len(list(whole.work())) == shards
    assert killed.targets.read_bytes() == whole.targets.read_bytes()
    assert list(killed.work()) == []
    assert not [path for path in killed.folder.iterdir() if path.is_dir()]  # no shards are left over


def test_the_key_changes_only_with_settings_and_sources_that_affect_the_text(model: Path, text: Path, tmp_path: Path) -> None:
    def key(decoding: MaskPredictDecoding = GREEDY) -> str:
        return Distillation(model, file_sources(text), decoding, cache=tmp_path).key

    first = key()
    assert key(MaskPredictDecoding(beam=1, max_tokens_per_batch=64, iterations=3)) == first
    assert key(MaskPredictDecoding(beam=2)) != first
    same = tmp_path / "same"
    shutil.copytree(model, same)
    (same / FORMAT_FILE).unlink()  # as in a folder of version 0.1.0
    assert Distillation(same, file_sources(text), GREEDY, cache=tmp_path).key == first
    text.write_text(text.read_text() + "one more\n")
    assert key() != first


def test_a_model_without_an_at_decoder_cannot_teach(tmp_path: Path) -> None:
    from mtnat.cli import main

    (tmp_path / "nat.yaml").write_text(
        "data: {corpus: grammar-en-de, corpus_size: 300, vocabulary_size: 300}\n"
        "model: {width: 16, heads: 2, feed_forward: 32, encoder_layers: 1, decoder_layers: 1, max_positions: 128}\n"
        "objective: {schedule: {kind: constant, value: 1.0}}\n"
        "training: {steps: 1, warmup_steps: 0, max_tokens_per_batch: 256, valid_sentences: 2}\n"
        "decoding: {iterations: 1, length_candidates: 1}\n"
    )
    assert main(["train", str(tmp_path / "nat.yaml"), "--output", str(tmp_path / "nat")]) == 0
    with pytest.raises(ModelError, match="has no AT decoder"):
        Distillation(tmp_path / "nat" / "model", training_sources(DataConfig(corpus="grammar-en-de")), GREEDY)


class TestStudents:
    DATA = DataConfig(corpus="grammar-en-de", corpus_size=300, vocabulary_size=300)

    def distilled(self, folder: Path, lines: int) -> DataConfig:
        path = folder / "distilled.de"
        path.write_text("".join(f"{'Haus ' * (number % 5)}Haus\n" for number in range(lines)))
        return self.DATA.model_copy(update={"distilled": str(path)})

    def test_students_train_on_the_teachers_text_with_the_raw_texts_vocabulary(self, tmp_path: Path) -> None:
        raw, student = prepare(self.DATA), prepare(self.distilled(tmp_path, 300))
        assert student.vocabularies.fingerprint == raw.vocabularies.fingerprint
        assert (student.valid, student.test) == (raw.valid, raw.test)
        assert student.fingerprint != raw.fingerprint
        source, target = student.train.lengths_N2[41]
        start = int(student.train.starts_N[41])
        tokens = student.train.tokens[start + source : start + source + target - 1]
        assert student.vocabularies.target.decode([tuple(map(int, tokens))]) == ["Haus Haus"]

    def test_distilled_text_of_another_length_is_refused(self, tmp_path: Path) -> None:
        short = self.distilled(tmp_path, 299)
        assert check(short) == [
            "data.distilled: must have a line for each of the 300 training sources; "
            f"got 299 in {short.distilled}; distil this corpus."
        ]
        with pytest.raises(DataError, match="299"):
            prepare(short)

    def test_missing_distilled_text_is_reported(self) -> None:
        missing = build(DataConfig, self.DATA.model_dump() | {"distilled": "nowhere.de"})
        assert len(check(missing)) == 1
        assert "nowhere.de: no such file" in check(missing)[0]
