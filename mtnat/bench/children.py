"""Child processes to measure in. Each measurement gets a new process, so that its peak memory is not that of another one."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from mtnat.errors import MtnatError, UserError

Result = TypeVar("Result")

_SECONDS_TO_END = 5.0


@dataclass(frozen=True)
class _Failure:
    """Sent by a child instead of a result."""

    problems: tuple[str, ...]
    is_of_user: bool


def in_child(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function in a new process and returns its result; see `in_children`."""
    return in_children(function, [arguments])[0]


def in_children(function: Callable[..., Result], arguments: Sequence[tuple[object, ...]]) -> list[Result]:
    """Calls a function once for each tuple of arguments, each in a new process, all in parallel; returns the results.

    After a failure in one process the others are terminated. All processes have ended when this function returns.

    Raises:
        UserError: if a child raised one.
        MtnatError: if a child failed otherwise or was killed. The message is a clause without a full stop, which the caller
            completes.
    """
    context = multiprocessing.get_context("spawn")
    children: dict[Connection, BaseProcess] = {}
    results: dict[Connection, Result] = {}
    try:
        for each in arguments:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_run, args=(sender, function, each))
            children[receiver] = child
            child.start()
            sender.close()  # the child then holds the only sender, so its death closes the pipe
        while len(results) < len(children):
            for ready in wait([receiver for receiver in children if receiver not in results]):
                assert isinstance(ready, Connection)
                results[ready] = _received(ready, children[ready])
        for ended in children.values():
            ended.join()
        return [results[receiver] for receiver in children]
    finally:
        _end(list(children.values()))


def _received(receiver: Connection, child: BaseProcess) -> Any:
    try:
        answer = receiver.recv()
    except EOFError:
        child.join()
        code = child.exitcode or 0
        reason = f"killed by {signal.Signals(-code).name}, perhaps out of memory" if code < 0 else f"exit code {code}"
        raise MtnatError(f"its process ended early ({reason})") from None
    if isinstance(answer, _Failure):
        raise UserError(answer.problems) if answer.is_of_user else MtnatError(*answer.problems)
    return answer


def _run(sender: Connection, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Runs in the child: sends the result or a failure. Other exceptions leave a traceback on standard error."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # raises KeyboardInterrupt, so that its own children end too
    try:
        answer = function(*arguments)
    except KeyboardInterrupt:
        return
    except UserError as error:
        answer = _Failure(error.problems, is_of_user=True)
    except (MtnatError, MemoryError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        answer = _Failure((f"its process failed: {reason[:300].rstrip('.')}",), is_of_user=False)
    sender.send(answer)


def _end(children: Sequence[BaseProcess]) -> None:
    for child in children:
        if child.pid is not None and child.exitcode is None:
            child.terminate()
    for child in children:
        if child.pid is not None:
            child.join(_SECONDS_TO_END)
            if child.exitcode is None:  # it hangs in a library that waits for a worker that has ended
                child.kill()
                child.join()
