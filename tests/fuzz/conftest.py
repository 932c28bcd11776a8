"""How many inputs each test of this folder draws, and what holds for all of them."""

import os
import resource
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings

INPUTS = os.environ.get("MTNAT_FUZZ")
MOST_MEMORY = 500 * 1024
"""KiB beyond those of the process before the test."""

settings.register_profile(
    "mtnat",
    max_examples=int(INPUTS or 20),
    derandomize=INPUTS is None,  # a short run draws the same inputs each time
    deadline=timedelta(seconds=5),
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mtnat")


@pytest.fixture(autouse=True)
def _memory_is_bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
