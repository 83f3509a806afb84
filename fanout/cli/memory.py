"""Ends the process when memory runs out.

Without memory, threads and trio's own tasks die silently. A task that waits for one of them waits
for ever, and SIGTERM no longer ends the process. So the process prints one line and ends at once.
"""

import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from fanout.cli.logs import message_of

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

OUT_OF_MEMORY: Final = (
    "out of memory, or of threads: raise ulimit -v or -u, MemoryMax= or TasksMax=, "
    "or lower --log-bytes"
)
_WORDS: Final = ("failed to map segment", "can't start new thread")
"""Messages of the dynamic linker and of Python for lack of memory or threads."""

_PLAIN: Final = f"fanout: {OUT_OF_MEMORY}\n".encode()

END_S: Final = 5
"""Grace period for trio to end after our last task. Normally it takes a small part of this."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or an error that its traceback would show, means out of memory."""
    unseen: list[BaseException | None] = [error]
    seen = set[int]()
    while unseen:
        each = unseen.pop()
        if isinstance(each, MemoryError):
            return True
        if isinstance(each, ImportError | RuntimeError) and any(w in str(each) for w in _WORDS):
            return True
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        unseen.append(each.__cause__)
        if not each.__suppress_context__:
            unseen.append(each.__context__)
        if isinstance(each, BaseExceptionGroup):
            unseen += each.exceptions
    return False


def end_when_out_of_memory() -> None:
    """End the process when a thread or a finaliser runs out of memory."""
    sys.unraisablehook = _on_unraisable


def give_up() -> NoReturn:
    """Print one line and end the process at once."""
    try:
        if sys.__stderr__ is not None:
            os.write(sys.__stderr__.fileno(), _last_line())
    finally:
        os._exit(1)


def end_soon() -> None:
    """Let the kernel end the process after `END_S` seconds: without memory the interpreter may be
    unable to."""
    signal.alarm(END_S)


def has_ended() -> None:
    """Cancel `end_soon`, since the service has ended in good order."""
    signal.alarm(0)


def _last_line() -> bytes:
    try:
        return f"{message_of(logging.ERROR, OUT_OF_MEMORY)}\n".encode()
    except MemoryError:
        return _PLAIN


def _on_unraisable(unraisable: "UnraisableHookArgs", /) -> None:
    if issubclass(unraisable.exc_type, MemoryError):
        give_up()
    sys.__unraisablehook__(unraisable)


def freeze() -> None:
    """Exempt all objects made so far from garbage collection.

    They live as long as the process. A full collection over them takes some 50 ms, during which
    records would wait.
    """
    gc.collect()
    gc.freeze()
