"""Runs a service, a replay or a simulator until a signal ends it."""

import json
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from fanout.cli import memory
from fanout.cli.outcome import emit, say
from fanout.config import Config, SourceConfig
from fanout.config.replay import ReplayConfig
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


class Work(msgspec.Struct, frozen=True):
    """What is run until a signal ends it."""

    run: Callable[..., Awaitable[None]]
    """Takes `stop` and `announce`."""
    words: str
    """What it does, in words that go before an address."""
    status: str
    """The same for the service manager."""
    channels: str
    """What a journal beside it keeps, in words."""
    transports: int
    """How many addresses it announces, beside that for questions."""


def run_until_signal(config: Config) -> int | None:
    """Run the service. Returns the number of the signal that ended it, or None."""
    return _run_until_signal(work_of(config))


def work_of(config: Config) -> Work:
    """The service as work."""
    symbols = " and ".join(_served(each) for each in config.sources)
    alone = config.sources[0] if len(config.sources) == 1 else None
    status = f"serving {_assets(alone) if alone else symbols}"
    return Work(
        run=partial(run_service, config),
        words=f"serving {symbols}",
        status=status,
        channels=" and ".join(each.name for each in config.sources),
        transports=len(config.transports),
    )


def replay_until_signal(config: ReplayConfig) -> int | None:
    """Run a replay. Returns the number of the signal that ended it, or None at its end."""
    from fanout.replay import run_replay

    channels = config.channel or "all channels"
    words = f"replaying {channels} of {config.directory}"
    work = Work(
        run=partial(run_replay, config),
        words=words,
        status=words,
        channels=channels,
        transports=len(config.transports),
    )
    return _run_until_signal(work)


def _run_until_signal(work: Work) -> int | None:
    received: list[int] = []
    for number in _signals():
        # These handlers cover the time before and after the service's own. Another Ctrl-C while
        # the process ends must not change its exit code.
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        trio.run(_run_and_end, work, received)
    finally:
        memory.has_ended()
    return received[0] if received else None


def _signals() -> list[signal.Signals]:
    """The signals that end the service. SIGHUP is one of them, unless nohup ignores it."""
    is_deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [*_SIGNALS] if is_deaf else [*_SIGNALS, signal.SIGHUP]


async def _run_and_end(work: Work, received: list[int]) -> None:
    """Do the work. If memory runs out, end the process without trio's help."""
    try:
        await _run(work, received)
    except BaseException as error:
        if memory.is_out_of_memory(error):
            memory.give_up()
        raise
    finally:
        memory.end_soon()


async def _run(work: Work, received: list[int]) -> None:
    stop = trio.Event()
    notifier = Notifier()
    left = work.transports

    def announce(url: str) -> None:
        nonlocal left
        if url.startswith("http"):
            say(f"answering {url}/status, /metrics, /healthz and /readyz")
        elif url.startswith(JOURNAL):
            say(f"keeping {work.channels} in {url.removeprefix(JOURNAL)}")
            left -= 1
        else:
            say(f"{work.words} on {url}")
            left -= 1
        if not left:
            notifier.ready(work.status)
            memory.freeze()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_signals, stop, received, nursery.cancel_scope)
        nursery.start_soon(notifier.keep_alive)
        nursery.start_soon(_say_stopping, stop, notifier)
        await work.run(stop=stop, announce=announce)
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
