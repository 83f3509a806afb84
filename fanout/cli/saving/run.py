"""Runs a recording: connects, writes the records, and completes the file."""

import math
from pathlib import Path
from typing import Final

import trio

from fanout.cli.formats import text_line
from fanout.cli.saving.aside import leftovers, require_free
from fanout.cli.saving.progress import Progress
from fanout.cli.saving.recordings import Recording, recording_of
from fanout.cli.saving.signals import Signals
from fanout.cli.saving.tally import Tally, counted
from fanout.cli.source import Source, told
from fanout.clients.outcomes import (
    Disconnected,
    DisconnectedError,
    Received,
    Restarted,
    UnknownSymbolError,
)
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol.records import Snapshot, Trade

SAVE_S: Final = 0.5
"""Interval at which received records go to disk and the progress line is updated."""


def record(
    source: Source, target: Path, *, force: bool, limit: int | None, duration_s: float | None
) -> int | None:
    """Record until `limit`, `duration_s`, a signal, or the end of the service.

    Returns the number of the signal that ended the recording, or None. Raises `OutputError`, alone
    or in a group, if the file cannot be written, and the errors of the client. Records received
    before the error are saved.
    """
    make = recording_of(target)
    require_free(target, force=force)
    client = source.client(TrioTcpClient, TrioShmClient)
    progress = Progress()
    for path in leftovers(target):
        progress.say(f"{path} is left from an interrupted recording: see docs/data.md")
    with Signals() as signals:
        saving = Saving(client, make(target), progress)
        try:
            trio.run(saving.run, signals, limit, math.inf if duration_s is None else duration_s)
            with signals.interrupting():
                saving.finish(force=force)
        except BaseException:
            saving.abandon()
            raise
        finally:
            progress.close()
    if saving.failure is not None:
        raise saving.failure
    return signals.first


class Saving:
    """A client, and the recording of its records."""

    def __init__(
        self, client: TrioTcpClient | TrioShmClient, recording: Recording, progress: Progress
    ) -> None:
        self._client = client
        self._recording = recording
        self._progress = progress
        self._tally = Tally()
        self.failure: DisconnectedError | UnknownSymbolError | None = None
        """The error with which the client gave up, if it did."""

    async def run(self, signals: Signals, limit: int | None, duration_s: float) -> None:
        """Record until a signal, the limit, the duration, or the end of the service."""
        async with trio.open_nursery() as nursery, self._client:
            nursery.start_soon(self._save_now_and_again)
            with trio.move_on_after(duration_s) as scope, signals.cancelling(scope):
                await self._receive(limit)
            nursery.cancel_scope.cancel()

    async def _receive(self, limit: int | None) -> None:
        trades = 0
        try:
            async for received in self._client:
                self._take(received)
                trades += isinstance(received, Trade)
                if trades == limit:
                    return
        except (DisconnectedError, UnknownSymbolError) as error:
            self.failure = error

    def _take(self, received: Received) -> None:
        self._tally.note(received)
        if isinstance(received, Disconnected | Restarted):
            self._progress.say(told(self._client.url, received))
            return
        header = self._client.header
        assert header is not None, "a header precedes every record but Disconnected"
        is_kept = self._recording.add(received, header)
        if not is_kept and not isinstance(received, Snapshot):  # older than the recording
            self._progress.say(text_line(received, header.epoch_ns))

    async def _save_now_and_again(self) -> None:
        # Saving blocks the event loop on purpose: a slow disk then slows down reading, and the
        # buffer in memory does not grow.
        while True:
            await trio.sleep(SAVE_S)
            self._recording.save()
            self._progress.show(f"{self._saved()}{self._lost()}")

    def _saved(self) -> str:
        return f"{counted(self._recording.trades, 'trade')} saved to {self._recording.target}"

    def _lost(self) -> str:
        return f", {counted(self._tally.lost, 'record')} lost" if self._tally.lost else ""

    def finish(self, *, force: bool) -> None:
        """Complete the file and report its contents. Without any record no file is created."""
        self._recording.save()
        target = self._recording.target
        is_answered = self._client.header is not None
        if not is_answered or (self.failure and not self._recording.trades):
            self._recording.discard()
            self._progress.say(f"nothing received: {target} was not created")
            return
        self._progress.show(f"completing {target}")
        self._recording.complete(force=force)
        self._progress.close()
        self._progress.say(
            f"saved {counted(self._recording.trades, 'trade')} to {target}{self._tally.words()}"
        )

    def abandon(self) -> None:
        """Keep the temporary file and report its name, or delete it if it has no trades."""
        path = self._recording.aside.path
        if not self._recording.trades:
            self._recording.discard()
        elif path.exists():
            saved = counted(self._recording.trades, "trade")
            self._progress.say(f"recording incomplete; {saved} kept in {path}")
