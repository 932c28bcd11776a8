"""Measurements in child processes: their results, their failures, and that no process is left."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from mtnat.bench.children import in_child, in_children
from mtnat.bench.memory import FamilyPeak
from mtnat.errors import ConfigError, MtnatError, UserError

MEBIBYTE = 1 << 20


def number_of(process: int) -> tuple[int, int]:
    return process, os.getpid()


def fail(kind: str) -> None:
    if kind == "user":
        raise ConfigError(["one thing is wrong.", "another is, too."])
    if kind == "memory":
        raise RuntimeError("out of\n  memory. ")
    os.kill(os.getpid(), signal.SIGKILL)


def fail_or_wait(fails: bool) -> None:
    if fails:
        raise RuntimeError("no more")
    time.sleep(600)


def peak_of(mebibytes: int) -> int:
    with FamilyPeak() as peak:
        np.ones(mebibytes * MEBIBYTE, np.uint8)
    return peak.bytes


def test_results_come_in_order_each_from_a_new_process() -> None:
    answers = in_children(number_of, [(1,), (2,)])
    assert [answer for answer, _ in answers] == [1, 2]
    assert len({os.getpid(), *(process for _, process in answers)}) == 3


@pytest.mark.slow
def test_the_failure_of_a_child_is_raised() -> None:
    with pytest.raises(UserError) as user:
        in_child(fail, "user")
    assert user.value.problems == ("one thing is wrong.", "another is, too.")
    with pytest.raises(MtnatError, match=r"^its process failed: out of memory$"):
        in_child(fail, "memory")
    with pytest.raises(MtnatError, match="killed by SIGKILL"):
        in_child(fail, "kill")


def test_after_a_failure_the_other_children_are_terminated() -> None:
    started = time.monotonic()
    with pytest.raises(MtnatError, match="no more"):
        in_children(fail_or_wait, [(False,), (True,)])
    assert time.monotonic() - started < 60
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_the_peak_memory_is_that_of_the_child_alone() -> None:
    ballast = np.ones(400 * MEBIBYTE, np.uint8)  # which does not count as memory of the child
    small, large = in_child(peak_of, 10), in_child(peak_of, 210)
    assert 150 * MEBIBYTE < large - small < 250 * MEBIBYTE
    assert small < ballast.nbytes
