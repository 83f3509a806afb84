"""The composition of one run on paper: inputs, merger, session, outputs, answers and signals."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec
import trio
from msgspec.structs import replace

from fanout.analytics.consumer.merge import Merger
from fanout.cli.analysing.consume import telling
from fanout.cli.analysing.engine import Engine
from fanout.cli.analysing.figures import Counts, StreamState
from fanout.cli.analysing.stdout import stdout_descriptor
from fanout.cli.inputs import Batches, trio_client
from fanout.cli.logs import is_said
from fanout.cli.memory import freeze
from fanout.cli.outcome import OutputError, first_of, say
from fanout.cli.source import Source
from fanout.cli.termination import end_on_signals
from fanout.cli.trading.files import SOCKET, RunFiles
from fanout.cli.trading.history import HistoryThenLive
from fanout.cli.trading.lines import JsonOutput, PatientOutput, WordsOutput
from fanout.cli.trading.session import Session
from fanout.cli.trading.watch import Watch
from fanout.clients.outcomes import without_password
from fanout.config import HttpConfig
from fanout.errors import OperatorError
from fanout.protocol.errors import reason
from fanout.protocol.request import Position
from fanout.trading.reports import Report
from fanout.trading.running.config import PaperConfig
from fanout.trading.running.standing import standing_of

SAY_S: Final = 0.05
"""How often what did not come of a record is printed."""

NO_DESKS: Final = b"{}"
"""What `/status` answers before the headers of all inputs have come."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input: a service or a journal, or first a journal and then a service. `follow` waits for
    more at the end of a journal."""

    source: Source
    history: Source | None = None
    follow: bool = False

    @property
    def name(self) -> str:
        """For people, and for the journal of the run."""
        return without_password((self.history or self.source).address)

    @property
    def is_kept(self) -> bool:
        """Whether it is a journal that is read to its end."""
        return self.history is None and self.source.is_journal and not self.follow


class Trading:
    """One run."""

    def __init__(
        self, config: PaperConfig, inputs: Sequence[Input], files: RunFiles, *, as_json: bool
    ) -> None:
        """Raises `ConfigError` for a journal that cannot be read."""
        self.signals: list[int] = []
        """The numbers of the signals that ended it."""
        self._config = config
        self._files = files
        earlier = files.earlier()
        self._inputs = [_going_on(each, earlier.newest_ns) for each in inputs]
        names = [each.name for each in inputs]
        system = config.system
        self._merger = Merger(
            [each.is_kept for each in inputs],
            wait_ns=system.wait_ns,
            capacity=system.queue_records,
        )
        self._session = Session(
            config,
            files,
            earlier,
            streams=names,
            kept=[each.source.is_journal or each.history is not None for each in inputs],
        )
        self._states = [
            StreamState(name, is_kept=each.source.is_journal or each.history is not None)
            for name, each in zip(names, inputs, strict=True)
        ]
        self._as_json = as_json
        if earlier.started is not None:
            say(f"going on with the run in {files.directory}")

    async def run(self) -> None:
        """Run until the inputs have ended, or a signal comes. Raises `OperatorError`, and the
        errors of the inputs; like every nursery, perhaps in an exception group."""
        ending, everything = trio.CancelScope(), trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_on_signals, ending, everything, self.signals)
            with everything:
                await self._trade(ending)
            nursery.cancel_scope.cancel()

    async def _trade(self, ending: trio.CancelScope) -> None:
        output = self._output()
        counts = Counts(
            self._session,
            self._merger,
            self._states,
            dropped=lambda: output.dropped,
            clock=trio.current_time,
            noun="reports",
        )
        async with AsyncExitStack() as opened:
            streams = [
                await opened.enter_async_context(self._open(index, each))
                for index, each in enumerate(self._inputs)
            ]
            await opened.enter_async_context(self._answering(counts))
            engine = Engine(
                self._session,
                self._merger,
                streams,
                [output],
                counts,
                batch_records=self._config.system.batch_records,
            )
            watch = Watch(
                self._session,
                self._files,
                self._config.system.kill_file,
                streams=streams,
                states=self._states,
                merger=self._merger,
            )
            freeze()
            failure = await self._run_engine(engine, watch, output, counts, ending)
        say(counts.total())
        if failure is not None:
            raise failure

    async def _run_engine(
        self,
        engine: Engine[Report],
        watch: Watch,
        output: PatientOutput,
        counts: Counts,
        ending: trio.CancelScope,
    ) -> Exception | None:
        """Run the engine. A reader of standard output that has left ends it in good order."""
        failure: Exception | None = None
        try:
            with ending:
                async with telling(counts), self._watching(watch, output):
                    await engine.run()
        except* BrokenPipeError as group:
            failure = group.exceptions[0]
        except* OperatorError as group:
            first = first_of(group)
            assert isinstance(first, Exception), "an operator's error is one"
            failure = first
        return failure or engine.failure

    @asynccontextmanager
    async def _watching(self, watch: Watch, output: PatientOutput) -> AsyncIterator[None]:
        """Have files, signals and the time looked at within the block."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.heed_signal)
            nursery.start_soon(watch.run)
            nursery.start_soon(self._say_others, output)
            nursery.start_soon(output.run)
            yield
            nursery.cancel_scope.cancel()
        output.add(self._session.unsaid())
        await output.end()

    async def _say_others(self, output: PatientOutput) -> None:
        """Print what did not come of a record."""
        while True:
            await trio.sleep(SAY_S)
            said = self._session.unsaid()
            if said:
                output.add(said)
                await output.flush()

    # What is opened.

    @asynccontextmanager
    async def _open(self, index: int, wanted: Input) -> AsyncIterator[Batches]:
        if wanted.history is None:
            async with trio_client(wanted.source, follow=wanted.follow) as client:
                yield client
            return
        async with trio_client(wanted.history, follow=False) as history:
            yield HistoryThenLive(
                history, partial(_live, wanted.source), partial(self._goes_live, index)
            )

    def _goes_live(self, index: int) -> None:
        state = self._states[index]
        state.address = without_password(self._inputs[index].source.address)
        state.is_kept = False
        say(f"the journal is read: going on live at {state.address}")

    def _output(self) -> PatientOutput:
        descriptor = stdout_descriptor()
        inner: WordsOutput | JsonOutput = JsonOutput(descriptor)
        if not self._as_json:
            inner = WordsOutput(descriptor, self._named, with_quotes=is_said(logging.DEBUG))
        return PatientOutput(inner, lambda: all(each.is_kept for each in self._states))

    def _named(self, symbol: str) -> Any:
        assert self._session.floor is not None, "it has reported"
        return self._session.floor.instrument(symbol)

    @asynccontextmanager
    async def _answering(self, counts: Counts) -> AsyncIterator[None]:
        """Answer in the directory, and over HTTP where that is asked for."""
        from fanout.cli.analysing.monitor import Monitor, answering  # with Prometheus's library
        from fanout.net.local import listen_in

        system = self._config.system
        http = None
        if system.http_port is not None:
            http = HttpConfig(port=system.http_port, host=system.http_host)
        try:
            listener = await listen_in(self._files.directory, SOCKET)
        except OSError as error:
            path = self._files.directory / SOCKET
            raise OutputError(f"cannot listen on {path}: {reason(error)}") from error
        local = Monitor(counts, name="paper", status=self._status)
        async with (
            answering(http, counts, name="paper", status=self._status),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(local.serve, [listener])
            yield
            nursery.cancel_scope.cancel()

    def _status(self) -> bytes:
        floor = self._session.floor
        if floor is None:
            return NO_DESKS
        return msgspec.json.encode(standing_of(floor, self._session.venue, is_running=True))


def _live(source: Source, position: Position) -> Any:
    start = f"{position.epoch_ns}:{position.seq}"
    return trio_client(replace(source, start=start), follow=True)


def _going_on(wanted: Input, newest_ns: int) -> Input:
    """An input of a run that goes on: what is read from a journal begins behind what was traded on
    already, unless the command line names another start."""
    journal = wanted.history or wanted.source
    if not newest_ns or not journal.is_journal or journal.start is not None:
        return wanted
    later = replace(journal, start=str(newest_ns + 1))
    if wanted.history is None:
        return msgspec.structs.replace(wanted, source=later)
    return msgspec.structs.replace(wanted, history=later)
