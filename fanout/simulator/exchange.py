"""The exchange: one market, one dialect, and all clients that connect, over either protocol.

Every accepted connection passes through `Exchange.serve`, and every tick through `_publish`: the
engine issues it, the stream faults may hold or drop it, and the streams send it. `faults` reaches
all places where a fault can act.
"""

from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Final

import trio

from fanout.errors import UsageError
from fanout.simulator.config import SimulatorConfig
from fanout.simulator.connection.connections import Connection, Connections, end_as
from fanout.simulator.connection.desk import Desk
from fanout.simulator.connection.head import Head, RefusedError, Replayed, read_head, refuse
from fanout.simulator.connection.http import Request, Response
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.connection.rest_connection import serve_rest
from fanout.simulator.connection.streams import Streams
from fanout.simulator.connection.websocket import serve_websocket
from fanout.simulator.control import PREFIX, Control
from fanout.simulator.dialects import dialect_of
from fanout.simulator.dialects.base import Venue
from fanout.simulator.faults import Drop
from fanout.simulator.faults.injector import FaultInjector
from fanout.simulator.faults.rest import RestFaults
from fanout.simulator.faults.streams import StreamFaults
from fanout.simulator.market.aggregate import Aggregator, with_aggregates
from fanout.simulator.market.batch import Batcher, with_batches
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.books import SyntheticBooks, with_books
from fanout.simulator.market.clock import Clock
from fanout.simulator.market.engine import Engine, Witness
from fanout.simulator.market.ledger import IdRange, market_id_of, on_wire
from fanout.simulator.market.listing import no_such_symbol
from fanout.simulator.market.ticks import (
    BOOKS,
    TRADE,
    Source,
    StreamKind,
    Tick,
    stream_of,
    symbol_of_book,
)
from fanout.simulator.player import play_flat_out, play_on_time

Account = Callable[[str, int | None], tuple[IdRange, ...]]

HEAD_S: Final = 10.0  # to receive the whole head of the first request


class Exchange:
    """`released` is set when the market may open. The caller of `play` waits for it first."""

    def __init__(self, source: Source, clock: Clock, config: SimulatorConfig) -> None:
        self.released = trio.Event()
        self._dialect = dialect = dialect_of(config.dialect)
        self._config = config
        self._source = source
        self._clock = clock
        symbols = [listing.symbol for listing in source.listings]
        self._synthetic = SyntheticBooks(
            dialect.book_rules,
            config.seed,
            lambda stream: self._streams.is_heard(stream),
            lambda: clock.offset_ms,
        )
        gathering, batching = dialect.aggregation, dialect.batching
        self._engine = Engine(
            source,
            clock,
            kept_trades=config.kept_trades,
            kept_ids=config.kept_ids,
            books=source.recorded_books or self._synthetic,
            others=dialect.untraded,
            aggregator=Aggregator(gathering.interval_ms, gathering.sent_after_ms),
            batcher=None if batching is None else Batcher(batching.interval_ms, batching.most),
        )
        self._stream_faults = StreamFaults(self._engine.ledger.withhold, config.seed)
        self._streams = Streams(
            dialect,
            symbols,
            self._subscribed,
            market=self._engine,
            silent=self._stream_faults.is_silent,
        )
        self._desk = Desk(dialect, self._streams, clock)
        limits = dialect.limits
        self._connections = Connections(limits.connections, limits.connections_per_window)
        weight_limit = config.weight_limit or dialect.limits.weight_per_minute
        self._rest_faults = RestFaults(dialect, weight_limit)
        rate_limit = RateLimit(
            weight_limit=weight_limit,
            tolerated_429s=config.tolerated_429s,
            window_ms=dialect.limits.window_ms,
            over_status=dialect.limits.over_status,
            ban_status=dialect.limits.ban_status,
        )
        self._rest = dialect.rest(
            Venue(
                listings=self._engine.listings,
                quirks=self._engine.quirks,
                history=self._engine.history,
                limit=rate_limit,
                snapshot=self._engine.snapshot,
            )
        )
        self.faults = FaultInjector(
            dialect,
            seed=config.seed,
            clock=clock,
            engine=self._engine,
            stream_faults=self._stream_faults,
            rest_faults=self._rest_faults,
            rate_limit=rate_limit,
            connections=self._connections,
            desk=self._desk,
        )
        self._control = Control(
            self.faults, issued=self.issued, withheld=self.withheld, release=self.released.set
        )

    def issued(
        self, symbol: str, stream: StreamKind = "trade", after: int | None = None
    ) -> tuple[IdRange, ...]:
        """Raises `UsageError` for a symbol that does not trade here. `withheld` does too."""
        return self._account(self._engine.ledger.issued, symbol, stream, after)

    def withheld(
        self, symbol: str, stream: StreamKind = "trade", after: int | None = None
    ) -> tuple[IdRange, ...]:
        return self._account(self._engine.ledger.withheld, symbol, stream, after)

    def watch(self, witness: Witness | None) -> None:
        self._engine.witness = witness

    def wire_id(self, symbol: str, stream: StreamKind, market_id: int) -> int:
        """The id under which a client of `fanout` gets a row of the market."""
        return self._dialect.wire_id(symbol, market_id) if stream == TRADE else market_id

    def book(self, symbol: str, limit: int) -> Snapshot:
        """After the newest update. Raises `UsageError` for a symbol that does not trade."""
        self._stream(symbol, TRADE)
        return self._engine.book(symbol, limit)

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve one connection. Its errors affect no other client."""
        try:
            await self._serve(stream)
        except RefusedError as error:
            await refuse(stream, error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone

    async def play(self, speed: float | None) -> None:
        """Open the market at the first subscriber. Returns once the last tick is in all sockets."""
        await self._streams.audience()
        self._engine.open(speed)
        origin_ms = self._clock.true_ms()
        self._synthetic.open(origin_ms)
        trades = with_aggregates(self._source.ticks(origin_ms), self._engine.aggregator)
        if self._engine.batcher is not None:
            trades = with_batches(trades, self._engine.batcher)
        ticks = with_books(trades, self._engine.books)
        if speed is None:
            await play_flat_out(ticks, self._publish, self._streams)
        else:
            await play_on_time(ticks, self._publish, speed)
        self._streams.publish(self._stream_faults.release())
        await self._streams.settled(0)

    def _publish(self, tick: Tick) -> None:
        engine = self._engine
        if tick.is_batch and engine.batcher is not None:
            self._send(engine.batcher.ready())
            return
        if tick.stream == BOOKS:
            self._send(engine.books.due(tick.due_ns))
            return
        has_books = engine.books.active
        if has_books:
            self._send(engine.before(tick))
        issued = engine.issue(tick)
        sent = issued if engine.batcher is None else engine.batcher.take(tick, issued)
        if sent is not None:
            self._streams.publish(self._stream_faults.through(sent))
        if has_books:
            self._send(engine.after(tick, issued))

    def _send(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:
            self._streams.publish(self._stream_faults.through(tick))

    def _subscribed(self, stream: str) -> None:
        symbol = symbol_of_book(stream)
        if symbol is not None:
            self._engine.start_book(symbol)

    async def _serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        head: Head | None = None
        with trio.move_on_after(HEAD_S):
            head = await read_head(stream)
        if head is None:
            return
        replayed = Replayed(stream, head.raw)
        if not head.is_websocket:
            await serve_rest(replayed, self._respond)
        elif (drop := await self._serve_websocket(replayed, head.target)) is not None:
            await end_as(drop, stream)

    async def _serve_websocket(self, stream: Replayed, target: str) -> Drop | None:
        """Serve a WebSocket. Returns the fault that dropped it, or None."""
        where = self._dialect.destination(target)
        if where is None:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        fault = self._rest_faults.next(target.partition("?")[0])
        if fault is not None:
            await trio.sleep(fault.delay_s)
            if fault.sent_bytes is not None:
                return None  # nothing of the answer is sent
            if fault.status is not None:
                raise RefusedError(fault.status, fault.retry_after_s)
        with self._connections.admitted():
            connection = Connection(stream, self._connections, where.route)
            await serve_websocket(connection, where.session, self._desk, self._config)
        return connection.drop_as

    def _respond(self, request: Request) -> Response:
        if request.path.startswith(PREFIX):
            return self._control.respond(request)
        response = self._rest.respond(request, self._clock.now_ms())
        return self._rest_faults.spoil(request.path, response)

    def _account(
        self, account: Account, symbol: str, kind: StreamKind, after: int | None
    ) -> tuple[IdRange, ...]:
        stream, to_wire = self._stream(symbol, kind), partial(self.wire_id, symbol, kind)
        if after is not None:
            after = market_id_of(after, self._engine.ledger.issued(stream, None), to_wire)
        return on_wire(account(stream, after), to_wire)

    def _stream(self, symbol: str, kind: StreamKind) -> str:
        known = (*self._engine.traded, *self._engine.former)
        if symbol not in known:
            raise UsageError(no_such_symbol(symbol, known))
        return stream_of(symbol, kind)
