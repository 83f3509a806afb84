"""SIGTERM ends every command, with 143.

The kernel ignores a signal that the first process of a container has no handler for, so that
`docker stop` would wait ten seconds and then kill. The service and `save` put handlers of their own
in the place of this one while they run.
"""

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import trio

CODE: Final = 128 + signal.SIGTERM


def end_on_sigterm() -> None:
    """Have SIGTERM end this process from now on, unless it is ignored on purpose."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    """End at once. Every line has been flushed when it was printed.

    An exception would hit trio in the middle of its own work. And it would be lost where Python has
    nobody to raise it to: in a callback of the garbage collector, or of an import.
    """
    os._exit(CODE)


async def end_on_signals(
    first: "trio.CancelScope", second: "trio.CancelScope", received: list[int] | None = None
) -> None:
    """Cancel the first scope at the first signal, and the second at the next. `received` gets the
    number of each. Runs until it is cancelled."""
    import trio  # not every command needs it

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)
    with trio.open_signal_receiver(*numbers) as signals:
        async for number in signals:
            if received is not None:
                received.append(number)
            if first.cancel_called:
                second.cancel()
            first.cancel()
