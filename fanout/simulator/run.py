"""`run_simulator`: a config becomes a source, a listening port and an exchange, in one nursery."""

import errno
import math
import time

import trio

from fanout.errors import BindError
from fanout.simulator.capture import survey
from fanout.simulator.clock import Clock
from fanout.simulator.config import SimulatorConfig
from fanout.simulator.exchange import Exchange
from fanout.simulator.market import SyntheticMarket
from fanout.simulator.symbols import TABLE
from fanout.simulator.ticks import Source


class Simulator:
    """The handle of a running simulator. Its URLs end before the route."""

    def __init__(self, authority: str) -> None:
        self.ws_url = f"ws://{authority}"
        self.rest_url = f"http://{authority}"
        self.finished = trio.Event()
        """Set when the source's last tick is in the sockets of all who hear it."""
        self.released = trio.Event()

    def release(self) -> None:
        """Let a held market open, as soon as somebody listens. Once is enough."""
        self.released.set()


async def run_simulator(
    config: SimulatorConfig,
    *,
    task_status: trio.TaskStatus[Simulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled, or for `config.duration_s`; a source that ends leaves it up and silent.

    Raises `ConfigError` for a capture that cannot be replayed and `BindError` for an address that
    cannot be listened on, both before anything is served. A capture that is changed under a replay
    raises ConfigError later, in the nursery's group. Cancelling closes every connection and loses
    what was on its way.
    """
    source = await _source(config)
    listener = await _listen(config.host, config.port)
    exchange = Exchange(source, Clock(time.time_ns()))
    simulator = Simulator(_authority(listener))
    with trio.move_on_after(math.inf if config.duration_s is None else config.duration_s):
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, exchange.serve, [listener])
            task_status.started(simulator)
            if config.hold:
                await simulator.released.wait()
            await exchange.play(config.speed)
            simulator.finished.set()


async def _source(config: SimulatorConfig) -> Source:
    if config.captures:
        # It only reads: a cancellation need not wait for it.
        return await trio.to_thread.run_sync(survey, config.captures, abandon_on_cancel=True)
    listings = tuple(TABLE[symbol] for symbol in config.symbols)
    return SyntheticMarket(listings, config.rate, config.seed)


async def _listen(host: str, port: int) -> trio.SocketListener:
    """One listener: a name with several addresses is bound at the first of them."""
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


def _authority(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
