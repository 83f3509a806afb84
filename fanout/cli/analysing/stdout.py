"""Rows as lines on standard output.

Trio's event loop must not block on a slow reader: signals, the HTTP port and the other outputs
would wait as well. Making the descriptor non-blocking would change it for every process that shares
it. So a pipe is written in pieces that fit: the kernel calls a pipe writable once a page is free,
and takes a write of at most a page then at once. A file is written as it is, and everything else,
such as a terminal that was stopped, in a thread.
"""

import os
import select
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import trio

from fanout.analytics.consumer.consumer import PlacedRow
from fanout.analytics.consumer.lines import CsvLines, JsonLines
from fanout.analytics.consumer.roster import Listed
from fanout.cli.outcome import OutputError
from fanout.protocol.errors import reason

PIECE_BYTES: Final = select.PIPE_BUF
"""What a pipe takes at once if it takes anything: a page."""


class LinesOutput:
    """Lines on a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending: list[bytes] = []
        mode = os.fstat(descriptor).st_mode
        self._is_pipe = stat.S_ISFIFO(mode)
        self._is_at_once = stat.S_ISREG(mode) or os.path.samestat(
            os.fstat(descriptor), os.stat(os.devnull)
        )

    @property
    def unwritten(self) -> int:
        """How many lines the next `flush` writes."""
        return len(self._pending)

    async def flush(self) -> None:
        """See `Output.flush`. Raises `BrokenPipeError` once the reader has left, and
        `OutputError`."""
        if not self._pending:
            return
        data = b"".join(self._pending)
        self._pending = []
        with _in_words():
            await self._write(data)

    def flush_at_once(self) -> None:
        """Write lines for as long as a pipe takes them at once. The others stay for `flush`, which
        must not be under way. Raises as `flush`."""
        while self._is_pipe and (count := self._fitting()):
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            if not poll.poll(0):
                return
            with _in_words():
                try:
                    os.write(self._descriptor, b"".join(self._pending[:count]))
                except BlockingIOError:  # as in `_write_pipe`
                    return
            del self._pending[:count]

    def _fitting(self) -> int:
        """How many of the first lines are a piece."""
        count = size = 0
        for line in self._pending:
            size += len(line)
            if size > PIECE_BYTES:
                break
            count += 1
        return count

    async def _write(self, data: bytes) -> None:
        if self._is_pipe:
            await self._write_pipe(memoryview(data))
        elif self._is_at_once:
            _write_all(self._descriptor, data)
        else:
            await trio.to_thread.run_sync(
                _write_all, self._descriptor, data, abandon_on_cancel=True
            )

    async def _write_pipe(self, rest: memoryview) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while rest:
            if not poll.poll(0):
                await trio.lowlevel.wait_writable(self._descriptor)
            # Whoever shares the pipe may have made it non-blocking, and may have filled it since.
            with suppress(BlockingIOError):
                rest = rest[os.write(self._descriptor, rest[:PIECE_BYTES]) :]


class StdoutOutput(LinesOutput):
    """Rows of features."""

    def __init__(
        self, form: JsonLines | CsvLines, listed: Sequence[Listed], descriptor: int
    ) -> None:
        super().__init__(descriptor)
        self._form = form
        self._listed = listed
        if form.header:
            self._pending.append(form.header)

    def add(self, rows: Sequence[PlacedRow]) -> None:
        """See `Output.add`."""
        line, listed = self._form.line, self._listed
        self._pending += [line(listed[place], row) for place, row in rows]


@contextmanager
def _in_words() -> Iterator[None]:
    """Raises `BrokenPipeError` as it is, and other errors of the system as `OutputError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write: {reason(error)}") from error


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@asynccontextmanager
async def open_stdout(
    form: JsonLines | CsvLines, listed: Sequence[Listed]
) -> AsyncIterator[StdoutOutput]:
    """Standard output. Raises `OutputError` if it is closed."""
    yield StdoutOutput(form, listed, stdout_descriptor())


def stdout_descriptor() -> int:
    """The descriptor of standard output, which nobody else writes to from now on. Raises
    `OutputError` if it is closed."""
    if sys.stdout is None:
        raise OutputError("standard output is closed: open it, or redirect it to a file")
    sys.stdout.flush()
    return sys.stdout.fileno()
