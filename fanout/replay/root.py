"""The composition root of a replay.

    journal -> tracks, one for each channel -> merged by time -> channels -> transports -> clients

Each run of the journal (what one start of a service wrote) is one run of the transports. At its end
each channel says END, the transports return, and the next ones listen at the same addresses: to
clients it is a restart of the service.

Nothing is lost because the replay is too quick for a reader: see `Transport.unread`. That holds
without limit of speed. At any other speed the replay keeps its pace, as an exchange does, and slow
readers lose what the log cannot hold.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import trio

from fanout.config import check_claims
from fanout.config.moment import moment_text
from fanout.config.replay import ReplayConfig
from fanout.errors import ConfigError
from fanout.http.monitor import Monitor
from fanout.protocol.constants import EndReason
from fanout.protocol.journal_play import Playback
from fanout.protocol.request import Moment
from fanout.replay.library import Run, StillFolder, read_library, runs_of
from fanout.replay.pace import Pace
from fanout.replay.source import ReplaySource
from fanout.replay.track import InThread, Track, open_track
from fanout.serving import open_past, open_to_questions, run_transport, until
from fanout.transports import make_transport
from fanout.transports.base import CHUNK_BYTES, Transport, longest_frame_of

_LOG = logging.getLogger("fanout")

LOOK_S: Final = 0.002
"""How often a replay that waits for its readers looks whether they have caught up."""

MOST_UNREAD: Final = 0.5
"""How much of the log, or of a queue, a reader may have to read before a replay without limit of
speed waits for it."""

LAST_S: Final = 10.0
"""How long readers have at any other speed to read what is left at the end of a run."""

RETURN_S: Final = 5.0
"""How long a replay without limit of speed waits for all readers to come back in the next run. They
are asked to come back at once."""

Places = Mapping[str, tuple[int, int]]
"""Where channels begin: the epoch and the number."""


async def run_replay(
    config: ReplayConfig,
    *,
    stop: trio.Event,
    announce: Callable[[str], None],
    in_thread: InThread = trio.to_thread.run_sync,
) -> None:
    """Replay a journal until its end, or until `stop` is set.

    `announce` is called with one line for people about each address, when it is first open. Raises
    an `OperatorError` if there is nothing to replay or a transport cannot open; like every nursery,
    perhaps in an exception group.
    """
    async with open_to_questions(config.http, announce) as show:
        folders = await in_thread(read_library, config.directory, config.channel)
        runs: Sequence[Run] = runs_of(folders)
        places: Places = {}
        if config.from_ns is not None:
            places = await in_thread(find_places, folders, config.from_ns)
            runs = _runs_from(runs, places, config)
        replay = Replay(config, folders, stop, show, announce, in_thread)
        for run in runs:
            await replay.play(run, places, is_last=run is runs[-1])
            places = {}
            if stop.is_set() or replay.is_over:
                return


def find_places(folders: Mapping[str, StillFolder], from_ns: int) -> Places:
    """The places of the first frames of a time, of the channels that have any. Raises `OSError`."""
    places: dict[str, tuple[int, int]] = {}
    for name, folder in folders.items():
        playback = Playback(folder)
        try:
            if playback.begin(Moment(time_ns=from_ns)):
                place = playback.epoch_ns, playback.next_seq
                if playback.read():
                    places[name] = place
        finally:
            playback.close()
    return places


def _runs_from(runs: Sequence[Run], places: Places, config: ReplayConfig) -> Sequence[Run]:
    """The runs from the first one that holds one of these places."""
    for index, run in enumerate(runs):
        if any(run.epochs.get(name) == epoch_ns for name, (epoch_ns, _) in places.items()):
            return runs[index:]
    assert config.from_ns is not None, "the places are those of that time"
    raise ConfigError(
        f"--from {moment_text(config.from_ns)}: the journal {config.directory} ends before"
    )


class Replay:
    """A replay over all its runs."""

    def __init__(
        self,
        config: ReplayConfig,
        folders: Mapping[str, StillFolder],
        stop: trio.Event,
        show: Callable[[Monitor], None],
        announce: Callable[[str], None],
        in_thread: InThread,
    ) -> None:
        self.is_over = False
        """Whether `--to` was reached."""
        self._config = config
        self._folders = folders
        self._stop = stop
        self._show = show
        self._announce = announce
        self._in_thread = in_thread
        self._transports: list[Transport] = []
        self._configs = config.transports
        self._pace = Pace(config.speed)
        self._had_readers = 1
        """How many readers the run before had, at least one."""

    async def play(self, run: Run, places: Places, *, is_last: bool) -> None:
        """Serve one run until it is over, or the replay is stopped. Raises `UsageError` if two
        transports need the same for so many channels."""
        check_claims(self._configs, len(run.epochs))
        self._transports = [make_transport(each) for each in self._configs]
        async with trio.open_nursery() as reading, AsyncExitStack() as opened:
            tracks = [await self._open(name, run, places, reading) for name in run.epochs]
            await self._require_begun(tracks)
            await open_past(self._transports, opened)
            await self._serve(tracks, is_last=is_last)
            reading.cancel_scope.cancel()
        self._configs = tuple(each.at_its_address() for each in self._transports)

    async def _open(self, name: str, run: Run, places: Places, reading: trio.Nursery) -> Track:
        epoch_ns, place = run.epochs[name], 1 if not places else None
        if name in places and places[name][0] == epoch_ns:
            place = places[name][1]
        track = await open_track(
            name,
            self._folders[name],
            epoch_ns,
            place,
            channels=tuple(run.epochs),
            log_bytes=self._config.log_bytes // len(run.epochs),
            pace=self._pace,
            in_thread=self._in_thread,
            longest_frame_bytes=longest_frame_of(self._transports),
        )
        reading.start_soon(track.read_ahead)
        await until(self._stop, partial(track.prime, place), waiting=f"going to --from in {name}")
        return track

    async def _require_begun(self, tracks: Sequence[Track]) -> None:
        """Raises `ConfigError` if the whole journal is later than `--to`."""
        times = [each.time_ns for each in tracks if await each.advance() and each.time_ns]
        to_ns = self._config.to_ns
        if to_ns is not None and times and min(times) > to_ns and not self._pace.time_ns:
            raise ConfigError(
                f"--to {moment_text(to_ns)}: the journal {self._config.directory} begins at "
                f"{moment_text(min(times))}"
            )

    async def _serve(self, tracks: Sequence[Track], *, is_last: bool) -> None:
        channels = [each.channel for each in tracks]
        failures: list[Exception] = []
        async with trio.open_nursery() as serving:
            self._show(Monitor([ReplaySource(each) for each in channels], self._transports))
            for transport in self._transports:
                run = partial(run_transport, transport, channels, self._stop, failures)
                url = await serving.start(run)
                self._announce(url)
            self._announce = _silent
            await until(self._stop, partial(self._play_out, tracks))
            self._had_readers = max(1, self._readers)
            self._end(tracks, is_last=is_last)
        if failures:
            raise failures[0]

    def _end(self, tracks: Sequence[Track], *, is_last: bool) -> None:
        """Say END in every channel that goes on."""
        why = "the journal has a restart of the service here"
        retry_ms: int | None = 0
        if self._stop.is_set():
            why, retry_ms = "the replay was stopped", None
        elif self.is_over or is_last:
            why, retry_ms = "the journal is at its end", None
        for each in tracks:
            if not each.channel.log.closed:
                each.channel.end(EndReason.SHUTDOWN, retry_ms=retry_ms, why=why)

    @property
    def _readers(self) -> int:
        return sum(each.readers for each in self._transports)

    async def _play_out(self, tracks: Sequence[Track]) -> None:
        """Publish everything, and let the readers read it: transports end soon after an END."""
        await self._play(tracks)
        limit_s = math.inf if self._config.is_unlimited else LAST_S
        with trio.move_on_after(limit_s):
            await trio.lowlevel.checkpoint()
            await _while(lambda: self._unread > 0)

    async def _play(self, tracks: Sequence[Track]) -> None:
        """Publish all frames of the tracks in the order of their times."""
        if self._config.is_unlimited:
            await self._until_read()
        playing = [each for each in tracks if await each.advance()]
        stride = min(
            *(each.channel.log.capacity_bytes // 8 for each in tracks),
            *(each.stride_bytes for each in self._transports),
            CHUNK_BYTES,
        )
        published = 0
        while playing:
            track = playing[0] if len(playing) == 1 else min(playing, key=_time_of)
            if self._config.to_ns is not None and track.time_ns > self._config.to_ns:
                self.is_over = True
                return
            wait_s = self._pace.wait_s(track.time_ns)
            if wait_s:
                published = 0
                await trio.sleep(wait_s)
            published += track.publish()
            if published >= stride:
                published = 0
                await self._let_read()
            if track.coming is None and not await track.advance():
                playing.remove(track)
                self._end_failed(track)

    def _end_failed(self, track: Track) -> None:
        """A channel whose source failed in the journal ends before the others, with its words."""
        end = track.end()
        if end is not None and end.reason is EndReason.FEED_FAILED:
            track.channel.end(end.reason, retry_ms=end.retry_ms, why=end.why)

    async def _let_read(self) -> None:
        """Let the transports send. Without limit of speed, wait for readers that are far behind,
        and for one if there is none."""
        await trio.lowlevel.checkpoint()
        if self._config.is_unlimited:
            await _while(lambda: not self._readers or self._unread > MOST_UNREAD)

    @property
    def _unread(self) -> float:
        return max(each.unread for each in self._transports)

    async def _until_read(self) -> None:
        """Wait until there is a reader; in a later run until all are back, for some time."""
        if not self._readers:
            _LOG.info("the replay waits for a reader before it begins")
        await _while(lambda: not self._readers)
        with trio.move_on_after(RETURN_S):
            await _while(lambda: self._readers < self._had_readers)


async def _while(holds: Callable[[], bool]) -> None:
    while holds():  # noqa: ASYNC110  no event tells how far readers are
        await trio.sleep(LOOK_S)


def _silent(url: str) -> None:
    """The addresses were announced."""


def _time_of(track: Track) -> int:
    return track.time_ns
