"""The composition of one run: inputs, merger, features, outputs, answers and signals."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import trio

from fanout.analytics.consumer.config import ConsumerConfig
from fanout.analytics.consumer.consumer import Consumer, Features, PlacedRow
from fanout.analytics.consumer.lines import FORMS
from fanout.analytics.consumer.merge import Merger
from fanout.analytics.consumer.roster import Listed
from fanout.analytics.errors import AnalyticsError
from fanout.analytics.features.stream import StreamFeatures
from fanout.analytics.fits.microprice_fits import fits_for
from fanout.cli.analysing.engine import Engine
from fanout.cli.analysing.figures import RATES_S, Counts, StreamState
from fanout.cli.analysing.output import Output
from fanout.cli.analysing.signals import planned
from fanout.cli.analysing.wishes import named_fits, parquet_path, symbols_in
from fanout.cli.inputs import trio_client
from fanout.cli.memory import freeze
from fanout.cli.outcome import first_of, say
from fanout.cli.source import Source
from fanout.cli.termination import end_on_signals
from fanout.clients.outcomes import without_password
from fanout.config import HttpConfig
from fanout.errors import ConfigError
from fanout.protocol.records import Header


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says beside the configuration."""

    symbols: tuple[str, ...] = ()
    """Of any input; empty for all."""
    follow: bool = True
    force: bool = False
    limit: int | None = None
    nats_creds: str | None = None
    nats_tls_ca: str | None = None


class Consuming:
    """One run."""

    def __init__(
        self, config: ConsumerConfig, sources: Sequence[Source], options: RunOptions
    ) -> None:
        """Raises `ConfigError` for a fit that cannot be read, and for a signal that cannot be
        made."""
        self.signals: list[int] = []
        """The numbers of the signals that ended it."""
        self._config, self._plan = planned(config)
        self._sources = tuple(sources)
        self._options = options
        self._outputs: list[Output[PlacedRow]] = []
        self._fits = named_fits(config.microprices)
        names = [without_password(each.address) for each in sources]
        kept = [each.is_journal and not options.follow for each in sources]
        processing = config.processing
        self._merger = Merger(kept, wait_ns=processing.wait_ns, capacity=processing.queue_records)
        self._consumer = Consumer(
            config,
            names,
            only=[symbols_in(each.symbols) for each in sources],
            named=options.symbols,
            needs=[*(each.need for each in self._fits), *self._plan.needs],
            make=self._make,
        )
        self._states = [
            StreamState(name, is_kept=source.is_journal)
            for name, source in zip(names, sources, strict=True)
        ]

    def _make(self, header: Header, symbols: tuple[str, ...]) -> Features:
        config = self._config
        features = StreamFeatures(
            config.features,
            symbols=symbols,
            every_ns=config.every_ns,
            fits=fits_for(header, symbols, self._fits),
        )
        return self._plan.over(features, header, symbols) if config.signals else features

    async def run(self) -> None:
        """Run until the inputs have ended, the limit is reached, or a signal comes. Raises
        `OperatorError`, and the errors of inputs and outputs; like every nursery, perhaps in an
        exception group."""
        ending, everything = trio.CancelScope(), trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_on_signals, ending, everything, self.signals)
            with everything:
                await self._consume(ending)
            nursery.cancel_scope.cancel()

    async def _consume(self, ending: trio.CancelScope) -> None:
        counts = Counts(
            self._consumer,
            self._merger,
            self._states,
            dropped=self._dropped,
            failed_models=lambda: self._plan.failures,
            clock=trio.current_time,
        )
        async with AsyncExitStack() as opened:
            streams = [
                await opened.enter_async_context(trio_client(each, follow=self._options.follow))
                for each in self._sources
            ]
            await opened.enter_async_context(self._answering(counts))
            await self._open_outputs(opened)
            engine = Engine(
                self._consumer,
                self._merger,
                streams,
                self._outputs,
                counts,
                batch_records=self._config.processing.batch_records,
                limit=self._options.limit,
            )
            freeze()
            failure = await self._run_engine(engine, counts, ending)
        say(counts.total())
        if failure is not None:
            raise failure

    async def _run_engine(
        self, engine: Engine[PlacedRow], counts: Counts, ending: trio.CancelScope
    ) -> Exception | None:
        """Run the engine. A reader of standard output that has left ends it in good order, and so
        does a configuration that turns out to fit no header."""
        failure: Exception | None = None
        try:
            with ending:
                async with telling(counts):
                    await engine.run()
        except* BrokenPipeError as group:
            failure = group.exceptions[0]
        except* AnalyticsError as group:
            failure = ConfigError(str(first_of(group)))
        return failure or engine.failure

    def _dropped(self) -> int:
        return sum(getattr(each, "dropped", 0) for each in self._outputs)

    def _answering(self, counts: Counts) -> Any:
        from fanout.cli.analysing.monitor import answering  # with Prometheus's library

        processing = self._config.processing
        http = None
        if processing.http_port is not None:
            http = HttpConfig(port=processing.http_port, host=processing.http_host)
        return answering(http, counts)

    async def _open_outputs(self, opened: AsyncExitStack) -> None:
        """Each output is imported where it is wanted: some bring a lot with them."""
        wanted = self._config.outputs
        columns = self._config.features.columns + self._plan.columns
        listed: Sequence[Listed] = self._consumer.listed
        enter = opened.enter_async_context
        path = parquet_path(wanted)
        if path is not None:
            from fanout.cli.analysing.parquet import open_parquet

            self._outputs.append(
                await enter(open_parquet(path, columns, listed, force=self._options.force))
            )
        if wanted.tcp_port is not None:
            from fanout.cli.analysing.channel import open_channel
            from fanout.transports.tcp.config import TcpConfig

            tcp = TcpConfig(port=wanted.tcp_port, host=wanted.tcp_host)
            waits = all(each.is_kept for each in self._states)
            self._outputs.append(
                await enter(
                    open_channel(
                        tcp,
                        columns,
                        listed,
                        newest_ns=lambda: self._consumer.newest_ns,
                        waits=waits,
                    )
                )
            )
        if wanted.nats is not None:
            from fanout.bridge.nats.options import NatsOptions
            from fanout.cli.analysing.nats import open_nats

            nats = NatsOptions(
                url=wanted.nats,
                creds=self._options.nats_creds,
                tls_ca=self._options.nats_tls_ca,
            )
            self._outputs.append(await enter(open_nats(nats, wanted.nats_subject, columns, listed)))
        if wanted.format in FORMS:
            from fanout.cli.analysing.stdout import open_stdout

            form = FORMS[wanted.format](columns)
            self._outputs.append(await enter(open_stdout(form, listed)))


@asynccontextmanager
async def telling(counts: Counts) -> AsyncIterator[None]:
    """Print the rates now and again, within the block."""

    async def tell() -> None:
        while True:
            await trio.sleep(RATES_S)
            say(counts.rates())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        yield
        nursery.cancel_scope.cancel()
