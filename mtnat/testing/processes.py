"""Processes for tests that train with several workers."""

import multiprocessing
from multiprocessing.context import ForkServerContext


def processes() -> ForkServerContext:
    """Returns a context whose processes start quickly: a server imports PyTorch once and forks them all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtnat.training"])
    return context
