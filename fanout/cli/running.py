"""Runs a service or a simulator until a signal ends it."""

import gc
import json
import signal
from typing import TYPE_CHECKING, Final

import trio

from fanout.cli import memory
from fanout.cli.outcome import emit, say
from fanout.config import Config, SourceConfig
from fanout.net.systemd import Notifier
from fanout.service import run_service

if TYPE_CHECKING:
    from fanout.simulator import SimulatorConfig

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Signals that end it in good order."""


JOURNAL: Final = "journal://"
"""How the address of a journal begins."""

MOST_NAMED: Final = 10
"""Most symbols that a message names for each source. It counts the others."""


def run_until_signal(config: Config) -> int | None:
    """Run the service. Returns the number of the signal that ended it, or None."""
    received: list[int] = []
    for number in _signals():
        # These handlers cover the time before and after the service's own. Another Ctrl-C while
        # the process ends must not change its exit code.
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        trio.run(_run_and_end, config, received)
    finally:
        memory.has_ended()
    return received[0] if received else None


def _signals() -> list[signal.Signals]:
    """The signals that end the service. SIGHUP is one of them, unless nohup ignores it."""
    is_deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [*_SIGNALS] if is_deaf else [*_SIGNALS, signal.SIGHUP]


async def _run_and_end(config: Config, received: list[int]) -> None:
    """Run the service. If memory runs out, end the process without trio's help."""
    try:
        await _run(config, received)
    except BaseException as error:
        if memory.is_out_of_memory(error):
            memory.give_up()
        raise
    finally:
        memory.end_soon()


async def _run(config: Config, received: list[int]) -> None:
    stop = trio.Event()
    symbols = " and ".join(_served(each) for each in config.sources)
    channels = " and ".join(each.name for each in config.sources)
    alone = config.sources[0] if len(config.sources) == 1 else None
    notifier = Notifier()
    left = len(config.transports)

    def announce(url: str) -> None:
        nonlocal left
        if url.startswith("http"):
            say(f"answering {url}/status, /metrics, /healthz and /readyz")
        elif url.startswith(JOURNAL):
            say(f"keeping {channels} in {url.removeprefix(JOURNAL)}")
            left -= 1
        else:
            say(f"serving {symbols} on {url}")
            left -= 1
        if not left:
            notifier.ready(f"serving {_assets(alone) if alone else symbols}")
            _freeze()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_signals, stop, received, nursery.cancel_scope)
        nursery.start_soon(notifier.keep_alive)
        nursery.start_soon(_say_stopping, stop, notifier)
        await run_service(config, stop=stop, announce=announce)
        nursery.cancel_scope.cancel()


def _served(source: SourceConfig) -> str:
    """The symbols, venue and channel of a source, for a message."""
    channel = f" as {source.name}" if source.name != source.venue else ""
    return f"{_assets(source)} from {source.venue}{channel}"


def _assets(source: SourceConfig) -> str:
    count = len(source.assets) - MOST_NAMED
    more = f" and {count} more" if count > 0 else ""
    return f"{', '.join(source.assets[:MOST_NAMED])}{more}"


async def _say_stopping(stop: trio.Event, notifier: Notifier) -> None:
    await stop.wait()
    notifier.stopping()


def _freeze() -> None:
    """Exempt all objects made so far from garbage collection.

    They live as long as the process. A full collection over them takes some 50 ms, during which
    trades would wait.
    """
    gc.collect()
    gc.freeze()


async def _watch_signals(
    stop: trio.Event, received: list[int], everything: trio.CancelScope
) -> None:
    """End in good order at the first signal, and at once at the second."""
    with trio.open_signal_receiver(*_signals()) as signals:
        if received:
            stop.set()
        async for number in signals:
            received.append(number)
            if stop.is_set():
                everything.cancel()
            stop.set()


def run_market(config: "SimulatorConfig") -> None:
    """Print the simulator's URLs, and run it until it ends or a signal arrives."""
    trio.run(_run_market, config)


async def _run_market(config: "SimulatorConfig") -> None:
    from fanout.simulator import run_simulator

    async with trio.open_nursery() as nursery:
        simulator = await nursery.start(run_simulator, config)
        emit(json.dumps({"ws": simulator.ws_url, "rest": simulator.rest_url}))
