"""Runs a recording: connects, writes the records, and completes the file."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import trio

from fanout.cli.formats import is_new, text_line
from fanout.cli.saving.aside import require_free
from fanout.cli.saving.journal import TrioJournalClient
from fanout.cli.saving.progress import Progress
from fanout.cli.saving.recordings import Recording, in_words, left_behind, recording_of
from fanout.cli.saving.signals import Signals
from fanout.cli.saving.tally import Tally, counted
from fanout.cli.source import Source, told, trio_nats_client
from fanout.clients.columns.journal import TradeRows
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.clients.outcomes import (
    Disconnected,
    DisconnectedError,
    Received,
    Restarted,
    UnknownSymbolError,
)
from fanout.clients.ring_trio import TrioRingClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol.records import Header, Snapshot

if TYPE_CHECKING:
    from fanout.clients.nats_trio import TrioNatsClient

Client: TypeAlias = (
    "TrioTcpClient | TrioShmClient | TrioRingClient | TrioMulticastClient | TrioJournalClient"
    " | TrioNatsClient"
)

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
    client = source.client(
        TrioTcpClient,
        TrioShmClient,
        TrioRingClient,
        TrioMulticastClient,
        TrioJournalClient,
        trio_nats_client,
    )
    progress = Progress()
    for path in left_behind(target):
        progress.say(f"{path} is left from an interrupted recording: see docs/data.md")
    with Signals() as signals:
        saving = Saving(client, make(target), progress, force=force)
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
        self,
        client: Client,
        recording: Recording,
        progress: Progress,
        *,
        force: bool,
    ) -> None:
        self._client = client
        self._recording = recording
        self._progress = progress
        self._tally = Tally()
        self._force = force
        self._header: Header | None = None
        """The header that the recording knows of."""
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
        count = 0
        try:
            async for each in self._client:
                received = cast("Received | TradeRows", each)
                if isinstance(received, TradeRows):
                    rows = received if limit is None else received.until(limit - count)
                    self._take_rows(rows)
                    count += len(rows)
                else:
                    self._take(received)
                    count += not isinstance(received, Disconnected | Restarted) and is_new(received)
                if count == limit:
                    return
        except (DisconnectedError, UnknownSymbolError) as error:
            self.failure = error

    def _take(self, received: Received) -> None:
        self._tally.note(received)
        if isinstance(received, Disconnected | Restarted):
            self._progress.say(told(self._client.url, received))
            return
        header = self._begun()
        is_kept = self._recording.add(received, header)
        if not is_kept and not isinstance(received, Snapshot):  # older than the recording
            self._progress.say(text_line(received, header.epoch_ns, header.columns))

    def _take_rows(self, trades: TradeRows) -> None:
        self._begun()
        self._recording.add_rows(trades)

    def _begun(self) -> Header:
        """The header of what came last, which the recording knows of."""
        header = self._client.header
        assert header is not None, "a header precedes every record but Disconnected"
        if header is not self._header:
            self._recording.begin(header, force=self._force)
            self._header = header
        return header

    async def _save_now_and_again(self) -> None:
        # Saving blocks the event loop on purpose: a slow disk then slows down reading, and the
        # buffer in memory does not grow.
        while True:
            await trio.sleep(SAVE_S)
            self._recording.save()
            self._progress.show(f"{self._saved()}{self._lost()}")

    def _saved(self) -> str:
        return f"{in_words(self._recording.saved)} saved to {self._recording.target}"

    def _lost(self) -> str:
        return f", {counted(self._tally.lost, 'record')} lost" if self._tally.lost else ""

    def finish(self, *, force: bool) -> None:
        """Complete the files and report their contents. Without any record no file is created."""
        recording = self._recording
        recording.save()
        files, target = recording.files, recording.target
        is_any = self._client.header is not None and bool(files)
        if not is_any or (self.failure and not recording.saved.total()):
            recording.discard()
            self._progress.say(f"nothing received: {target} was not created")
            return
        self._progress.show(f"completing {target}")
        recording.complete(force=force)
        self._progress.close()
        saved = ", ".join(f"{in_words(each.saved)} to {each.target}" for each in files)
        self._progress.say(f"saved {saved}{self._tally.words()}")

    def abandon(self) -> None:
        """Keep the temporary files and report their names, but delete those without records."""
        for each in self._recording.files:
            if not each.saved.total():
                each.discard()
            elif each.aside.path.exists():
                kept = f"{in_words(each.saved)} kept in {each.aside.path}"
                self._progress.say(f"recording incomplete; {kept}")
