"""What every test has: one thread, a cache of its own, no telemetry; and the corpora, where they are."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ |= {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}  # before their import

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors lose time to threads, and tests of numbers want one order of summation."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that ends with the session, unless MTNAT_CACHE names one."""
    with pytest.MonkeyPatch.context() as patch:
        if "MTNAT_CACHE" not in os.environ:
            patch.setenv("MTNAT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora; the test is skipped where there is none."""
    folder = os.environ.get("MTNAT_DATA")
    if not folder:
        pytest.skip("needs real corpora: set MTNAT_DATA to their folder")
    if not Path(folder).is_dir():
        pytest.skip(f"needs real corpora: MTNAT_DATA names {folder}, which is no folder")
    return Path(folder)
