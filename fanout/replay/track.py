"""One channel of a replay: from the segments of one epoch into a channel.

    segments -> thread -> pieces, one ahead -> frames -> `coming` -> channel

`coming` is the frame that goes out next: it is decoded, so that its time is known, and not
published yet.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import trio

from fanout.channel.channel import Channel
from fanout.channel.relay import Recorded, Relay, frames_of
from fanout.errors import ConfigError, shown
from fanout.protocol.encoding import LONGEST_BYTES
from fanout.protocol.errors import PeerError, reason
from fanout.protocol.events import decode_event
from fanout.protocol.journal_play import Playback
from fanout.protocol.records import End, Heartbeat
from fanout.protocol.request import Position
from fanout.replay.library import StillFolder
from fanout.replay.pace import Pace

_LOG = logging.getLogger("fanout")

InThread = Callable[..., Awaitable[Any]]
"""Calls a function with these arguments where it may block: `trio.to_thread.run_sync`."""


class Track:
    """One channel of a run. Made by `open_track`."""

    def __init__(
        self, name: str, channel: Channel, playback: Playback, in_thread: InThread
    ) -> None:
        self.name = name
        self.channel = channel
        self.relay = Relay(channel)
        self.coming: Recorded | None = None
        """None before the first `advance`, and at the end."""
        self.time_ns = 0
        """The latest time of all frames, `coming` included."""
        self._playback = playback
        self._in_thread = in_thread
        self._frames: Iterator[bytes] = iter(())
        self._send, self._receive = trio.open_memory_channel[bytes](0)
        self._has_complained = False

    async def read_ahead(self) -> None:
        """Read pieces in a thread, each while the one before is replayed."""
        with self._send:
            try:
                while piece := await self._in_thread(self._playback.read):
                    await self._send.send(piece)
            except OSError as error:
                _LOG.error("%s: the rest cannot be read: %s", self.name, shown(reason(error)))
            finally:
                with trio.CancelScope(shield=True):
                    await self._in_thread(self._playback.close)

    async def prime(self, place: int | None) -> None:
        """Bring the channel to where its readers begin: at a number, or at the end. They get the
        books and the newest trades as they were there."""
        while await self.advance() and not self._is_at(place):
            self.publish()
        self.channel.begin_here()

    def _is_at(self, place: int | None) -> bool:
        coming = self.coming
        assert coming is not None, "it is not at its end"
        if place is None or self.channel.log.next_seq < place:
            return False
        return bool(coming.count) or isinstance(coming.content, Heartbeat)

    async def advance(self) -> bool:
        """Have the next frame in `coming`. False at the end."""
        while self.coming is None and not self._decode():
            try:
                self._frames = frames_of(await self._receive.receive())
            except trio.EndOfChannel:
                return False
        return True

    def publish(self) -> int:
        """Publish `coming`, and have the next one there if it has been read. Gives how many bytes
        went out."""
        coming = self.coming
        assert coming is not None, "the caller has looked"
        self.coming = None
        try:
            self.relay.publish(coming)
        except PeerError as error:
            self._complain(error)
        self._decode()
        return len(coming.frame)

    def _decode(self) -> bool:
        for each in self._frames:
            try:
                coming = self.relay.read(each)
            except PeerError as error:
                self._complain(error)
                continue
            if coming.time_ns > self.time_ns:
                self.time_ns = coming.time_ns
            self.coming = coming
            return True
        return False

    def _complain(self, error: PeerError) -> None:
        """The relay reports the numbers of frames that are left out as lost."""
        if not self._has_complained:
            self._has_complained = True
            _LOG.warning("%s: a frame of the journal cannot be used: %s", self.name, error)

    def end(self) -> End | None:
        """The END with which the journal's epoch ended, if it has one and was read to it."""
        payload = self._playback.ended
        event = decode_event(payload, self.channel.header) if payload else None
        return event if isinstance(event, End) else None


async def open_track(
    name: str,
    folder: StillFolder,
    epoch_ns: int,
    place: int | None,
    *,
    channels: tuple[str, ...],
    log_bytes: int,
    pace: Pace,
    in_thread: InThread,
    longest_frame_bytes: int = LONGEST_BYTES,
) -> Track:
    """Open one epoch of a channel so that `place`, or the end, can be reached by `prime`. Raises
    `ConfigError` if no segment can be read."""
    playback = Playback(folder)
    try:
        is_there = await in_thread(_begin, playback, folder, epoch_ns, place)
    except OSError as error:
        raise ConfigError(f"{name}: {reason(error)}") from error
    if not is_there:
        raise ConfigError(f"{name}: no segment of epoch {epoch_ns} is there any more")
    header = msgspec.structs.replace(
        playback.header,
        next_seq=playback.next_seq,
        channel=name,
        channels=tuple(each for each in channels if each != name),
    )
    channel = Channel(
        header,
        log_bytes=log_bytes,
        wall_ns=lambda: pace.time_ns,
        longest_frame_bytes=longest_frame_bytes,
    )
    return Track(name, channel, playback, in_thread)


def _begin(playback: Playback, folder: StillFolder, epoch_ns: int, place: int | None) -> bool:
    """Go to the beginning of the segment with a number, or of the last one. The whole books are
    there, and lead to those at the place. Without books go to the place itself."""
    firsts = folder.segments(epoch_ns)
    first = max((each for each in firsts if place is None or each <= place), default=firsts[0])
    found = playback.begin(Position(epoch_ns=epoch_ns, seq=first), epoch_ns=epoch_ns)
    wanted = place or 0
    if found and wanted > playback.next_seq and not playback.header.has_books:
        found = playback.begin(Position(epoch_ns=epoch_ns, seq=wanted), epoch_ns=epoch_ns)
    return found
