"""The start and the end of a command's process, and how the commands of its environment are typed."""

import gc
import io
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TUNABLES = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=1"}
"""Environment variables for glibc, which reads them only when a process starts. Other C libraries ignore them.

PyTorch requests aligned blocks of memory. glibc cuts each of them from a larger block and puts the remainder into its
thread cache, where it is never merged with its neighbour again. After the neighbour is freed, the space is too small for
another block of the same alignment and size. Without the cache, a training needs a tenth less memory. Huge pages, where the
system has them, make it 1 to 3 % faster.
"""


def restart_with_tunables() -> None:
    """Replaces this process by the same command with `TUNABLES` set.

    Does nothing if the user has set GLIBC_TUNABLES, or on other systems than Linux.
    """
    if sys.platform == "linux" and not TUNABLES.keys() & os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | TUNABLES)


def end_quietly_at_interrupt() -> None:
    """Lets Ctrl-C end this process without a traceback until `raise_at_interrupt`, for the time in which modules are imported.
    Where Ctrl-C is ignored, as in a job of a shell script, it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_at_interrupt() -> None:
    """Lets Ctrl-C raise `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def prepare_streams() -> None:
    """Prepares the standard streams, so that printing raises no error.

    A stream that the caller has closed (``>&-``) becomes /dev/null; otherwise a file that is opened later would get its
    number, and the output with it. A character that the encoding of the output lacks, such as λ in ASCII, is printed as ``?``
    instead of raising an error at the end of hours of work.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  stays open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def end_output(stream: IO[str]) -> None:
    """Redirects a stream to /dev/null after its reader has closed the pipe (``| head``), so that flushing it at the end of the
    process does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def permanent_imports() -> Iterator[None]:
    """Keeps what is imported in the context out of garbage collection.

    PyTorch, Ray and MLflow create hundreds of thousands of objects that live as long as the process. To traverse them again and
    again, during the imports and at the end of the process, takes a large share of the time of a short command.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def typed(command: str) -> str:
    """Returns how a command of this Python's environment is typed in the current folder: by its name if the shell finds it, and
    otherwise by its path."""
    folder = Path(sys.executable).parent
    found = shutil.which(command)
    if found is not None and Path(found).parent == folder:
        return command
    path = folder / command
    words = [str(path)] if path.exists() else [sys.executable, "-m", command]
    words[0] = words[0].removeprefix(f"{Path.cwd()}{os.sep}")
    return shlex.join(words)
