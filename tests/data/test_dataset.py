import fcntl
import gzip
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from mtnat.data import DataConfig, Dataset, check, prepare, write_store
from mtnat.data.corpus import read_lines
from mtnat.data.dataset import default_cache, encoded
from mtnat.data.grammar import generate
from mtnat.errors import DataError
from mtnat.tokens import EOS

PAIRS = [(pair.english, pair.german) for pair in generate("train", 300, 1)]
MULTI30K = {"train": "train", "valid": "val", "test": "test_2016_flickr"}


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> tuple[str, str]:
    for language, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
        (folder / f"{name}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return f"{name}.en", f"{name}.de"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A corpus of 280 training pairs and 10 each of valid and test."""
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path))
    monkeypatch.setenv("MTNAT_CACHE", str(tmp_path / "cache"))
    train, valid, test = (
        write(tmp_path, *part) for part in (("train", PAIRS[:280]), ("valid", PAIRS[280:290]), ("test", PAIRS[290:]))
    )
    return {"train": train, "valid": valid, "test": test, "vocabulary_size": 150}


def built(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir() and path.name != "scans"]


def test_tokens_and_text_are_those_of_the_files(settings: dict[str, Any]) -> None:
    dataset = prepare(DataConfig(**settings))
    assert len(dataset.train) == 280
    assert dataset.left_out == 0
    for i in (0, 279):
        source, target = dataset.train[i]
        assert source[-1] == target[-1] == EOS
        assert dataset.vocabularies.source.decode([source.tolist()]) == [PAIRS[i][0]]
        assert dataset.vocabularies.target.decode([target.tolist()]) == [PAIRS[i][1]]
    assert list(zip(dataset.valid.sources, dataset.valid.references, strict=True)) == PAIRS[280:290]
    assert list(zip(dataset.test.sources, dataset.test.references, strict=True)) == PAIRS[290:]
    assert dataset.valid.name == "valid"


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize(("threads", "pairs_at_once"), [(1, 1), (2, 7), (3, 280), (5, 1_000)])
def test_encoding_does_not_depend_on_threads_and_chunks(
    settings: dict[str, Any], joint: bool, threads: int, pairs_at_once: int
) -> None:
    dataset = prepare(DataConfig(**settings, joint_vocabulary=joint))
    source, target = dataset.vocabularies.source, dataset.vocabularies.target
    expected = [(source.encode([pair[0]])[0], target.encode([pair[1]])[0]) for pair in PAIRS[:280]]
    found = encoded(iter(PAIRS[:280]), dataset.vocabularies, threads=threads, pairs_at_once=pairs_at_once)
    assert list(found) == expected
    assert dataset.train.tokens.tolist() == [token for pair in expected for side in pair for token in (*side, EOS)]


def test_reading_is_a_few_chunks_ahead_of_the_caller(settings: dict[str, Any]) -> None:
    vocabularies = prepare(DataConfig(**settings)).vocabularies
    text = iter(PAIRS)
    found = encoded(text, vocabularies, pairs_at_once=10)
    next(found)
    assert len(PAIRS) - len(list(text)) == 30


def test_a_reading_error_is_raised(settings: dict[str, Any]) -> None:
    def text() -> Iterator[tuple[str, str]]:
        yield from PAIRS[:25]
        raise DataError("the disk is gone.")

    with pytest.raises(DataError, match=r"the disk is gone"):
        list(encoded(text(), prepare(DataConfig(**settings)).vocabularies, pairs_at_once=10))


def test_separate_vocabularies_differ(settings: dict[str, Any]) -> None:
    vocabularies = prepare(DataConfig(**settings, joint_vocabulary=False)).vocabularies
    assert not vocabularies.joint
    assert vocabularies.source.model != vocabularies.target.model
    assert len(vocabularies.source) == len(vocabularies.target) == 150


def test_training_leaves_empty_and_long_pairs_out_and_held_out_text_does_not(tmp_path: Path, settings: dict[str, Any]) -> None:
    odd = [("", "leer"), ("blank", "  \t"), ("x " * 200, "lang")]
    write(tmp_path, "train", [*odd, *PAIRS[:280]])
    write(tmp_path, "valid", odd)
    dataset = prepare(DataConfig(**settings))
    assert (len(dataset.train), dataset.left_out) == (280, 3)
    assert list(zip(dataset.valid.sources, dataset.valid.references, strict=True)) == odd


def test_the_fingerprint_depends_on_text_and_settings_not_on_paths(tmp_path: Path, settings: dict[str, Any]) -> None:
    first = prepare(DataConfig(**settings))
    for name in ("moved.en", "moved.de"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name.replace("moved", "train")).read_bytes()))
    moved = prepare(DataConfig(**settings | {"train": ("moved.en.gz", "moved.de.gz")}))
    assert moved.fingerprint == first.fingerprint
    assert len(built(tmp_path / "cache")) == 1
    assert prepare(DataConfig(**settings, max_length=40)).fingerprint != first.fingerprint
    other_test = prepare(DataConfig(**settings | {"test": settings["valid"]}))
    assert other_test.fingerprint != first.fingerprint
    assert other_test.train.folder == first.train.folder


def test_a_changed_corpus_is_prepared_again(tmp_path: Path, settings: dict[str, Any]) -> None:
    first = prepare(DataConfig(**settings))
    write(tmp_path, "train", PAIRS[1:281])
    second = prepare(DataConfig(**settings))
    assert second.fingerprint != first.fingerprint
    assert len(second.train) == 280


def test_prepared_data_is_not_prepared_again(tmp_path: Path, settings: dict[str, Any]) -> None:
    first = prepare(DataConfig(**settings))
    made = first.train.folder.stat()
    again = prepare(DataConfig(**settings))
    assert again.train.folder.stat() == made
    assert again.vocabularies.fingerprint == first.vocabularies.fingerprint
    assert again.fingerprint == first.fingerprint
    explicit = prepare(DataConfig(**settings), tmp_path / "elsewhere")
    assert explicit.fingerprint == first.fingerprint
    assert explicit.train.folder.parent == tmp_path / "elsewhere"


def test_a_dataset_can_be_pickled(settings: dict[str, Any]) -> None:
    dataset = prepare(DataConfig(**settings))
    loaded: Dataset = pickle.loads(pickle.dumps(dataset))
    assert loaded.train[7][1].tolist() == dataset.train[7][1].tolist()
    assert loaded.vocabularies.fingerprint == dataset.vocabularies.fingerprint
    assert loaded.test == dataset.test


def test_simultaneous_preparations_share_one_result(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Locks belong to open files, so threads serve as processes. A second builder would fail to rename its folder."""
    with ThreadPoolExecutor(4) as threads:
        datasets = list(threads.map(lambda _: prepare(DataConfig(**settings)), range(4)))
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    assert built(tmp_path / "cache") == [datasets[0].train.folder]


def test_a_waiting_preparation_uses_the_result_of_the_first_preparation(tmp_path: Path, settings: dict[str, Any]) -> None:
    made = prepare(DataConfig(**settings), tmp_path / "elsewhere").train.folder
    cache = tmp_path / "cache"
    cache.mkdir(exist_ok=True)
    with ThreadPoolExecutor(1) as threads, (cache / f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threads.submit(prepare, DataConfig(**settings))
        with pytest.raises(NotYet):
            waiting.result(timeout=0.2)
        shutil.copytree(made, cache / made.name)
        inode = (cache / made.name).stat().st_ino
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert waiting.result(timeout=10).train.folder.stat().st_ino == inode


def test_partial_data_of_a_killed_process_is_not_used(tmp_path: Path, settings: dict[str, Any]) -> None:
    made = prepare(DataConfig(**settings), tmp_path / "elsewhere").train.folder
    partial = tmp_path / "cache" / f"{made.name}.partial"
    shutil.copytree(made, partial)
    (partial / "tokens.bin").write_bytes(b"")
    dataset = prepare(DataConfig(**settings))
    assert dataset.vocabularies.target.decode([dataset.train[0][1].tolist()]) == [PAIRS[0][1]]
    assert not partial.exists()


def test_a_failed_preparation_leaves_no_folder_in_the_cache(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"max_length"):
        prepare(DataConfig(**settings, max_length=4))
    assert built(tmp_path / "cache") == []


class TestDefaultCache:
    @pytest.fixture(autouse=True)
    def _nothing_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("MTNAT_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other folders")
    def test_without_variables_the_default_cache_is_in_the_home_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/somewhere")
        assert default_cache() == Path("/somewhere/.cache/mtnat")

    @pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other folders")
    def test_xdg_cache_home_determines_the_default_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
        assert default_cache() == Path("/caches/mtnat")

    def test_mtnat_cache_takes_precedence_over_xdg_cache_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
        monkeypatch.setenv("MTNAT_CACHE", "here")
        assert default_cache() == Path("here")

    @pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root, to become another user")
    def test_a_missing_passwd_entry_is_reported_in_one_sentence(self) -> None:
        code = "import os; from mtnat.data.dataset import default_cache; os.setuid(54321); default_cache()"
        environment = {name: text for name, text in os.environ.items() if name != "HOME"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stderr.splitlines()[-1].startswith("mtnat.errors.DataError: the cache: has no place")


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot be written \(.*\); set \$MTNAT_CACHE to a folder with room\.$"):
        prepare(DataConfig(**settings), tmp_path / "file")


def bad_settings(settings: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    yield settings | {"vocabulary_size": 60_000}, "data.vocabulary_size: must not exceed"
    yield settings | {"train": ("none.en", settings["train"][1])}, "none.en: no such file"
    yield (
        settings | {"train": settings["train"][:1] + settings["valid"][1:]},
        "both sides must have equally many lines; got 280",
    )
    (Path(os.environ["MTNAT_DATA"]) / "lines.de").write_text(" \n" * 10)
    yield settings | {"test": (settings["test"][0], "lines.de")}, "lines.de: contains no text, only empty lines"


@pytest.mark.parametrize("case", range(4))
def test_check_reports_the_problems_of_prepare(settings: dict[str, Any], case: int) -> None:
    bad, words = next(islice(bad_settings(settings), case, None))
    (problem,) = check(DataConfig(**bad))
    assert words in problem
    with pytest.raises(DataError) as caught:
        prepare(DataConfig(**bad))
    assert caught.value.problems == (problem,)


def test_what_check_prepares_is_used_by_prepare(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert check(DataConfig(**settings), tmp_path / "cache") == []
    (folder,) = built(tmp_path / "cache")
    before = folder.stat().st_mtime_ns
    assert prepare(DataConfig(**settings), tmp_path / "cache").train.folder == folder
    assert folder.stat().st_mtime_ns == before


def test_a_large_corpus_is_checked_without_preparing_it(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtnat.data.dataset._MOST_PAIRS_CHECKED", 10)
    assert check(DataConfig(**settings), tmp_path) == []
    assert built(tmp_path) == []


@pytest.mark.slow
def test_a_large_corpus_is_stored_as_if_written_line_by_line(corpora: Path, tmp_path: Path) -> None:
    """Multi30k, which has several chunks, is stored byte for byte as if line by line."""
    names = {split: tuple(f"multi30k/{file}.{language}.gz" for language in ("en", "de")) for split, file in MULTI30K.items()}
    dataset = prepare(DataConfig.model_validate({**names, "vocabulary_size": 4_000}), tmp_path / "cache")
    plain = tmp_path / "plain"
    source, target = dataset.vocabularies.source, dataset.vocabularies.target
    text = zip(*(read_lines(corpora / name) for name in names["train"]), strict=True)
    pairs = ((source.encode([english])[0], target.encode([german])[0]) for english, german in text)
    write_store(plain, pairs, largest_vocabulary=4_000, max_length=128)
    for file in plain.iterdir():
        assert (dataset.train.folder / file.name).read_bytes() == file.read_bytes()


def test_the_embedded_corpus_is_prepared_like_any_other(tmp_path: Path) -> None:
    dataset = prepare(DataConfig(corpus="grammar-de-en", corpus_size=200, vocabulary_size=150), tmp_path)
    assert len(dataset.train) == 200
    source, target = dataset.train[0]
    assert dataset.vocabularies.source.decode([source.tolist()]) == [PAIRS[0][1]]
    assert dataset.vocabularies.target.decode([target.tolist()]) == [PAIRS[0][0]]
    assert len(dataset.valid.sources) == len(dataset.test.sources) == 500


def test_the_default_vocabulary_is_too_large_for_the_embedded_corpus(tmp_path: Path) -> None:
    (problem,) = check(DataConfig(corpus="grammar-en-de", corpus_size=300), tmp_path)
    assert problem.startswith("data.vocabulary_size: must not exceed what the training text can fill")
