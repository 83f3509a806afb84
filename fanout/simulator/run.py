"""`run_simulator` makes a source, a listener and an exchange from a config, and runs them."""

import errno
import math
import time

import trio

from fanout.errors import BindError
from fanout.net.listeners import authority_of
from fanout.simulator.config import SimulatorConfig
from fanout.simulator.dialects import dialect_of
from fanout.simulator.exchange import Exchange
from fanout.simulator.faults.schedule import keep
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.capture import survey
from fanout.simulator.market.clock import Clock
from fanout.simulator.market.engine import Witness
from fanout.simulator.market.ledger import IdRange
from fanout.simulator.market.synthetic import SyntheticMarket
from fanout.simulator.market.ticks import Source, StreamKind


class Simulator:
    """The handle of a running simulator. Its URLs have no route.

    `faults.inject(fault)` injects a fault of `fanout.simulator.faults`:

        simulator.faults.inject(Drop(how="reset"))
        simulator.faults.inject(Skip("BTCUSDT", count=3))
        simulator.faults.inject(Http(status=429, retry_after_s=2, path="/fapi/v1/trades"))

    `faults.clear()` ends all standing faults; `faults.standing` and `faults.connections` list them.
    `issued` and `withheld` account for every id: the delivered ids, those reported to a consumer as
    missing, and those that are no trade add up to the issued ids. `book` is the market's own book.
    """

    def __init__(self, authority: str, exchange: Exchange) -> None:
        self.ws_url = f"ws://{authority}"
        self.rest_url = f"http://{authority}"
        self.finished = trio.Event()
        """Set when the source's last tick is in the sockets of all its subscribers."""
        self.faults = exchange.faults
        self._exchange = exchange

    def release(self) -> None:
        """Let a held market open, at the first subscriber. A second call has no effect."""
        self._exchange.released.set()

    def issued(
        self, symbol: str, *, stream: StreamKind = "trade", after: int | None = None
    ) -> tuple[IdRange, ...]:
        """The ids issued since the market opened, in order, as ranges of one kind.

        They are the ids that a client of `fanout` gets. Where the venue's ids do not ascend, each
        is a range. With `after`, only ids issued after that one. Raises `ForgottenError` if some of
        those are no longer kept.
        """
        return self._exchange.issued(symbol, stream, after)

    def watch(self, witness: Witness | None) -> None:
        """Have `witness` called with each trade as it is issued, in the venue's own words, whether
        or not it is sent. It should be quick. None ends it."""
        self._exchange.watch(witness)

    def withheld(
        self, symbol: str, *, stream: StreamKind = "trade", after: int | None = None
    ) -> tuple[IdRange, ...]:
        """The issued ids that a fault has withheld from all streams, or made unreadable there.

        If one fault repeats a message and another skips it, a copy may still have been sent.
        """
        return self._exchange.withheld(symbol, stream, after)

    def book(self, symbol: str, limit: int = 1_000) -> Snapshot:
        """The first levels of a book after its newest update, as the market has them.

        Costs no weight, and faults of REST do not act on it. The first call begins the book.
        """
        return self._exchange.book(symbol, limit)


async def run_simulator(
    config: SimulatorConfig,
    *,
    task_status: trio.TaskStatus[Simulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled, or for `config.duration_s`; after the source's end it stays up, silent.

    Raises `ConfigError` for a capture that cannot be replayed, `UsageError` for a fault that this
    exchange cannot have, and `BindError` for an address that it cannot listen on, all before it
    serves anything. A capture that changes during its replay raises `ConfigError` later, in the
    nursery's group. Cancelling closes every connection and loses what is queued.
    """
    source = await _source(config)
    exchange = Exchange(source, _clock(config), config)
    for each in config.faults:
        exchange.faults.check(each.fault)
    listener = await _listen(config.host, config.port)
    simulator = Simulator(authority_of(listener), exchange)
    with trio.move_on_after(math.inf if config.duration_s is None else config.duration_s):
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, exchange.serve, [listener])
            for each in config.faults:
                nursery.start_soon(keep, each, exchange.faults.inject)
            task_status.started(simulator)
            if config.hold:
                await exchange.released.wait()
            await exchange.play(config.speed)
            simulator.finished.set()


def _clock(config: SimulatorConfig) -> Clock:
    return Clock(time.time_ns() if config.start_ns is None else config.start_ns)


async def _source(config: SimulatorConfig) -> Source:
    dialect = dialect_of(config.dialect)
    if config.captures:
        # The survey only reads, so a cancellation need not wait for it.
        return await trio.to_thread.run_sync(
            survey, config.captures, dialect.reader, dialect.table, abandon_on_cancel=True
        )
    return SyntheticMarket(config.listings, config.rate, config.seed, dialect.kinds)


async def _listen(host: str, port: int) -> trio.SocketListener:
    """One listener. For a name with several addresses, it is at the first of them."""
    try:
        first, *others = await trio.open_tcp_listeners(port, host=host)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BindError(
            f"cannot listen on {host}, port {port}: {reason}; {_advice(error)}"
        ) from error
    for listener in others:
        await listener.aclose()
    return first


def _advice(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
        return "choose another port, or 0 for any free one"
    return "choose an address of this machine, such as 127.0.0.1"
