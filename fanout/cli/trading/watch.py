"""What acts on a run besides its records: the kill switch's files and signal, and time.

Looked at every `LOOK_S`, also while no record comes:

- a kill file, which pulls the switch for as long as it is there;
- a reset file, which the command `fanout paper reset` writes;
- the heartbeats of the inputs. A stream that has nothing else shows with them that time has passed
  at the service. An input that is not connected has none: there the clock of this machine counts.
"""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from fanout.analytics.consumer.merge import Merger
from fanout.cli.analysing.figures import StreamState
from fanout.cli.analysing.passing import Passing
from fanout.cli.inputs import Batches
from fanout.cli.outcome import say
from fanout.cli.trading.files import COMMAND, KILL, RESET, RunFiles, take_away, words_in
from fanout.cli.trading.session import Session
from fanout.trading.errors import TransitionError
from fanout.trading.kill import KillCause
from fanout.trading.running.floor import Floor

LOOK_S: Final = 0.05


class Watch:
    """Acts on a session. `kill_file` is one besides that in the directory. `clock` gives seconds
    that never step back."""

    def __init__(
        self,
        session: Session,
        files: RunFiles,
        kill_file: str | None,
        *,
        streams: Sequence[Batches],
        states: Sequence[StreamState],
        merger: Merger,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._clock = clock
        self._session = session
        self._kill, self._reset = files.directory / KILL, files.directory / RESET
        self._kill_files = [self._kill, *([Path(kill_file)] if kill_file else [])]
        self._streams = tuple(streams)
        self._states = tuple(states)
        self._merger = merger
        self._passing = Passing()
        self._noted_ns = 0
        """The newest record of which that knows."""
        self._is_signalled = False
        """Whether SIGUSR1 has come before there were desks."""
        session.on_open = self._opened

    async def run(self) -> None:
        """Look until cancelled. Raises as `Session.do`."""
        while True:
            await trio.sleep(LOOK_S)
            self.look()

    async def heed_signal(self) -> None:
        """Pull the switch at SIGUSR1, until cancelled."""
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            async for _ in signals:
                self._is_signalled = self._session.floor is None
                self._pull(KillCause.SIGNAL, "SIGUSR1")

    def _opened(self, floor: Floor) -> None:
        if self._is_signalled:
            self._pull(KillCause.SIGNAL, "SIGUSR1")
        self._look_at_files(floor)

    def look(self) -> None:
        """Look at everything once."""
        floor = self._session.floor
        if floor is not None:
            self._look_at_files(floor)
            self._pass_time()

    # Files.

    def _look_at_files(self, floor: Floor) -> None:
        for path in self._kill_files:
            words = words_in(path) if floor.is_any_armed else None
            if words is not None:
                cause = KillCause.COMMAND if words.startswith(COMMAND) else KillCause.FILE
                why = words if cause is KillCause.COMMAND else f"{path} is there: {words}"
                self._pull(cause, why.removesuffix(": "))
        who = words_in(self._reset)
        if who is not None:
            take_away(self._reset)
            self._arm(who)

    def _pull(self, cause: KillCause, why: str) -> None:
        self._session.do(lambda floor: floor.pull(cause, why))

    def _arm(self, who: str) -> None:
        there = [path for path in self._kill_files if words_in(path) is not None]
        if there:
            say(f"{who} cannot reset the kill switch: {there[0]} is there still")
            return
        try:
            self._session.do(lambda floor: floor.reset(who))
        except TransitionError as error:
            say(f"{who} cannot reset the kill switch: {error}")

    # Time.

    def _pass_time(self) -> None:
        here_ns = int(self._clock() * 1e9)
        if self._session.newest_ns != self._noted_ns:
            self._noted_ns = self._session.newest_ns
            self._passing.note(self._noted_ns, here_ns)
        passed_ns = self._passed_ns(here_ns)
        if passed_ns:
            self._session.do(lambda floor: floor.advance(passed_ns))

    def _passed_ns(self, here_ns: int) -> int:
        """Until when every stream has shown all that it has; 0 if that is not known."""
        if self._merger.waiting or any(each.is_any_ready for each in self._streams):
            return 0
        times = []
        for stream, state in zip(self._streams, self._states, strict=True):
            if state.has_ended:
                continue
            if not state.is_connected and not state.is_kept:
                times.append(self._passing.now_ns(here_ns))
            else:
                times.append(stream.heartbeat_ns)
        return min(times, default=0)
