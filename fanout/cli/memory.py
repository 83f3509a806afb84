"""When memory is out.

A thread then dies without a word, and so do trio's own tasks: whoever waits for one of them waits
for ever, and not even SIGTERM ends that. So the process ends at once, with a line.
"""

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
"""How the dynamic linker and Python say that there is none, for a library or for a stack."""

_PLAIN: Final = f"fanout: {OUT_OF_MEMORY}\n".encode()

END_S: Final = 5
"""Many times what trio takes to end, once the last task of ours has."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is that, or comes of it: whether its traceback would name it."""
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
    """Have the process end where a thread, or what nobody waits for, finds no memory."""
    sys.unraisablehook = _on_unraisable


def give_up() -> NoReturn:
    """End at once, with a line."""
    try:
        if sys.__stderr__ is not None:
            os.write(sys.__stderr__.fileno(), _last_line())
    finally:
        os._exit(1)


def end_soon() -> None:
    """Have the system end the process, if it is still there after `END_S` seconds: without memory
    the interpreter itself may be past doing so."""
    signal.alarm(END_S)


def has_ended() -> None:
    """It has, in good order: take `end_soon` back."""
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
