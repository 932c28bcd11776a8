"""Fixtures of all tests: one thread, a separate cache, no telemetry, and the corpora if available."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ |= {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}  # before these libraries are imported

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sets one thread: small tensors are faster without threads, and tests of numbers need one order of summation."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Uses a temporary cache for the session, unless $MTNAT_CACHE names one."""
    with pytest.MonkeyPatch.context() as patch:
        if "MTNAT_CACHE" not in os.environ:
            patch.setenv("MTNAT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora; skips the test if there is none."""
    folder = os.environ.get("MTNAT_DATA")
    if not folder:
        pytest.skip("needs real corpora: set MTNAT_DATA to their folder")
    if not Path(folder).is_dir():
        pytest.skip(f"needs real corpora: MTNAT_DATA names {folder}, which is no folder")
    return Path(folder)


EXPERIMENT = """
data: {corpus: grammar-en-de, corpus_size: 300, vocabulary_size: 300}
model: {width: 16, heads: 2, feed_forward: 32, encoder_layers: 1, decoder_layers: 1, dropout: 0.1, max_positions: 128}
training: {steps: 4, warmup_steps: 1, max_tokens_per_batch: 256, validate_every: 2, valid_sentences: 4}
decoding: {iterations: 2, length_candidates: 3}
"""


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, with tiny.yaml next to it. Its model is practically untrained."""
    from mtnat.cli import main

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    assert main(["train", str(folder / "tiny.yaml"), "--output", str(folder / "tiny")]) == 0
    return folder / "tiny"


@pytest.fixture(scope="session")
def model(tiny_run: Path) -> Path:
    """The model folder of `tiny_run`."""
    return tiny_run / "model"
