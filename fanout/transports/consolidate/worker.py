"""The thread that writes rings. The event loop never waits for the disk.

    loop      puts what it took from the logs into a queue, and reads counters
    worker    decodes it, writes it to rings, and once a second a row for each ring

What is in the queue counts as backlog until it is written, and the loop takes no more than a bit.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final

from fanout.protocol.records import Header
from fanout.transports.consolidate.keeping import KeptChannel, Taken
from fanout.transports.consolidate.kept_ring import PAUSE_S, REAL_CLOCKS, Clocks
from fanout.transports.consolidate.metrics import MetricsFile

_LOG = logging.getLogger("fanout")

SECOND_NS: Final = 10**9


class Worker:
    """Writes what it is given, in a thread of its own."""

    def __init__(
        self,
        metrics: MetricsFile,
        *,
        clocks: Clocks = REAL_CLOCKS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.channels: list[KeptChannel] = []
        self.given_bytes = 0
        """By the loop, which counts them, less `done_bytes`."""
        self.done_bytes = 0
        self.rows = 0
        """Seconds that were written to the metrics."""
        self._metrics = metrics
        self._clocks = clocks
        self._pause = pause
        self._queue: SimpleQueue[tuple[KeptChannel, Taken] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._next_row_ns = 0
        self.begin()

    def open(self, channel: KeptChannel, header: Header) -> None:
        """Begin to keep a channel, with all rings that it needs. Raises `BindError`. May block."""
        self.channels.append(channel)
        channel.use(header)
        for each in channel.rings:
            each.open()

    def start(self) -> None:
        """Start the thread. It does not keep the process from ending."""
        self.begin()
        self._thread = threading.Thread(target=self._run, name="consolidate", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Begin to count seconds."""
        self._next_row_ns = self._clocks.mono_ns() + SECOND_NS

    def give(self, channel: KeptChannel, taken: Taken) -> None:
        self.given_bytes += taken.size
        self._queue.put((channel, taken))

    def stop(self) -> None:
        """Let the thread write what is in the queue, and then end."""
        self._queue.put(None)

    def close(self) -> None:
        """Give the rings back. For when the thread has ended, or never began."""
        for channel in self.channels:
            for ring in channel.rings:
                ring.close()

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def backlog_bytes(self) -> int:
        return self.given_bytes - self.done_bytes

    def do(self, *, wait: bool = True) -> bool:
        """Do what is in the queue, and a row if it is time. Waits for either. False at the end.
        A fault of one of them does not end the others."""
        left_ns = self._next_row_ns - self._clocks.mono_ns()
        goes_on = True
        try:
            task = self._queue.get(wait and left_ns > 0, max(left_ns, 0) / SECOND_NS)
            if task is None:
                goes_on = False
            else:
                with _told():
                    self._take(*task)
        except Empty:
            pass
        with _told():
            self._write()
        if self._clocks.mono_ns() >= self._next_row_ns or not goes_on:
            with _told():
                self._end_second(is_last=not goes_on)
        return goes_on

    def _run(self) -> None:
        while self.do():
            pass
        self.close()

    def _take(self, channel: KeptChannel, taken: Taken) -> None:
        try:
            channel.take(taken)
        finally:
            self.done_bytes += taken.size

    def _write(self) -> None:
        due = [each for channel in self.channels for each in channel.rings if each.is_due]
        while due:
            for ring in due:
                ring.write()
            due = [each for each in due if each.is_due]
            if due:
                self._pause(PAUSE_S)

    def _end_second(self, *, is_last: bool) -> None:
        """Write a row for each ring, and look after the files."""
        now_ns = self._clocks.mono_ns()
        self._next_row_ns += SECOND_NS
        if self._next_row_ns <= now_ns:  # it was held up
            self._next_row_ns = now_ns + SECOND_NS
        if not is_last:
            for channel in self.channels:
                channel.look()
        rings = [ring for channel in self.channels for ring in channel.rings]
        if is_last:
            for ring in rings:
                ring.drop()
        self._metrics.write([each.turn() for each in rings], self._clocks.wall_ns())
        self.rows += 1


@contextmanager
def _told() -> Iterator[None]:
    """Log an internal fault: the next block may be in order."""
    try:
        yield
    except Exception:
        _LOG.exception("an internal fault in consolidate")
