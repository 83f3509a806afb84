"""What a service and a replay have in common: transports that serve channels, answers over HTTP,
and work that can be stopped."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

import trio

from fanout.channel.channel import Channel
from fanout.channel.past import PastOf
from fanout.config import HttpConfig
from fanout.http.monitor import Monitor
from fanout.transports.base import Transport

_LOG = logging.getLogger("fanout")

T = TypeVar("T")

PATIENCE_S: Final = 1.0
"""After so long without an answer of the venue, the log says that it is waited for."""


async def open_past(transports: Sequence[Transport], opened: AsyncExitStack) -> PastOf | None:
    """What is kept of earlier starts, by the one transport that keeps anything. It stays open until
    `opened` is closed. Raises an `OperatorError` where a transport cannot be opened."""
    kept = [await opened.enter_async_context(each.opened()) for each in transports]
    return next((each for each in kept if each is not None), None)


@asynccontextmanager
async def open_to_questions(
    config: HttpConfig | None, announce: Callable[[str], None]
) -> AsyncIterator[Callable[[Monitor], None]]:
    """Answer over HTTP, where that is asked for: that the process lives from the start on, and
    everything else once there is a monitor to be shown. A monitor takes the place of the one before
    it."""
    if config is None:
        yield lambda monitor: None
        return
    from fanout.http.server import HttpServer  # with Prometheus's library, which not all need

    server = HttpServer()
    async with trio.open_nursery() as nursery:
        announce(await nursery.start(server.run, config.host, config.port))
        shown = trio.CancelScope()

        def show(monitor: Monitor) -> None:
            nonlocal shown
            shown.cancel()
            shown = trio.CancelScope()
            server.show(monitor)
            nursery.start_soon(_run_within, shown, monitor.run)

        yield show
        nursery.cancel_scope.cancel()


async def _run_within(scope: trio.CancelScope, work: Callable[[], Awaitable[None]]) -> None:
    with scope:
        await work()


async def run_transport(
    transport: Transport,
    channels: Sequence[Channel],
    stop: trio.Event,
    failures: list[Exception],
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    """Run a transport. One that fails after its start stops the process, in good order: the
    readers of the others get their END."""
    url: str | None = None
    try:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(transport.run, channels)
            task_status.started(url)
    except* Exception as group:
        if url is None:
            raise
        failures.append(group)
        stop.set()


async def until(
    stop: trio.Event, work: Callable[[], Awaitable[T]], *, waiting: str = ""
) -> T | None:
    """What `work` returns, or None if it is stopped before. Raises what it raises. After a while
    the log says what is `waiting` for."""
    result: T | None = None
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
        if waiting:
            nursery.start_soon(_say_after_a_while, waiting)
        try:
            result = await work()
        except Exception as error:
            failure = error  # raised as it is, not in the nursery's group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


async def _say_after_a_while(words: str) -> None:
    await trio.sleep(PATIENCE_S)
    _LOG.info(words)


async def _cancel_on(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()
