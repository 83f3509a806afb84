"""Who hears what: the spelling, the route, the envelope."""

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import FrameProtocol

from fanout.simulator.requests import Session
from fanout.simulator.routes import Route
from fanout.simulator.streams import Streams, Subscriber
from fanout.simulator.ticks import Tick
from tests.fanout.simulator.support import tick, trade

AGGREGATE = Tick(0, "btcusdt@aggTrade", b'{"e":"aggTrade"}')


@pytest.fixture
def streams() -> Streams:
    return Streams(["BTCUSDT", "币安人生USDT"])


def listener(streams: Streams, route: Route, *names: str, combined: bool = False) -> Subscriber:
    subscriber = Subscriber(route)
    streams.tune(subscriber, Session(names, combined))
    return subscriber


async def heard(subscriber: Subscriber) -> list[Any]:
    if not subscriber.outbox.backlog_bytes:
        return []
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(await subscriber.outbox.take())
    return [json.loads(frame.payload) for frame in protocol.received_frames()]


async def test_a_stream_on_its_route_is_heard(streams: Streams) -> None:
    public = listener(streams, Route.PUBLIC, "btcusdt@trade")
    market = listener(streams, Route.MARKET, "btcusdt@aggTrade")
    streams.publish([tick(trade(1)), AGGREGATE])
    assert [message["t"] for message in await heard(public)] == [1]
    assert [message["e"] for message in await heard(market)] == ["aggTrade"]


@pytest.mark.parametrize(
    ("route", "name"),
    [
        (Route.MARKET, "btcusdt@trade"),
        (Route.PUBLIC, "btcusdt@aggTrade"),
        (Route.PRIVATE, "btcusdt@trade"),
        (Route.PUBLIC, "BTCUSDT@trade"),
        (Route.PUBLIC, "btcusdt@Trade"),
        (Route.MARKET, "btcusdt@aggtrade"),
        (Route.PUBLIC, "ethusdt@trade"),
        (Route.PUBLIC, "btcusdt@depth@250ms"),
        (Route.PUBLIC, ""),
    ],
)
async def test_the_wrong_route_or_spelling_is_silent(
    streams: Streams, route: Route, name: str
) -> None:
    subscriber = listener(streams, route, name)
    streams.publish([tick(trade()), AGGREGATE])
    assert await heard(subscriber) == []


async def test_the_envelope_is_each_subscribers_own(streams: Streams) -> None:
    raw = listener(streams, Route.PUBLIC, "btcusdt@trade")
    combined = listener(streams, Route.PUBLIC, "btcusdt@trade", combined=True)
    streams.publish([tick(trade(5))])
    (payload,) = await heard(raw)
    assert await heard(combined) == [{"stream": "btcusdt@trade", "data": payload}]


async def test_changing_the_envelope_changes_what_follows(streams: Streams) -> None:
    subscriber = listener(streams, Route.PUBLIC, "btcusdt@trade")
    streams.publish([tick(trade(1))])
    streams.tune(subscriber, Session(("btcusdt@trade",), combined=True))
    streams.publish([tick(trade(2))])
    first, second = await heard(subscriber)
    assert "stream" not in first
    assert second["data"]["t"] == 2


async def test_a_chinese_stream_name_goes_out_as_utf_8(streams: Streams) -> None:
    subscriber = listener(streams, Route.PUBLIC, "币安人生usdt@trade", combined=True)
    streams.publish([tick(trade(symbol="币安人生USDT"))])
    assert "币安人生usdt@trade".encode() in await subscriber.outbox.take()


async def test_who_unsubscribes_hears_no_more(streams: Streams) -> None:
    subscriber = listener(streams, Route.PUBLIC, "btcusdt@trade")
    streams.tune(subscriber, Session())
    streams.publish([tick(trade())])
    assert await heard(subscriber) == []


async def test_who_leaves_is_forgotten(streams: Streams) -> None:
    subscriber = listener(streams, Route.PUBLIC, "btcusdt@trade")
    streams.leave(subscriber)
    streams.leave(subscriber)
    streams.publish([tick(trade())])
    assert subscriber.outbox.backlog_bytes == 0


async def test_only_a_stream_that_exists_makes_an_audience(
    streams: Streams, nursery: trio.Nursery
) -> None:
    came = trio.Event()

    async def wait() -> None:
        await streams.audience()
        came.set()

    nursery.start_soon(wait)
    listener(streams, Route.MARKET, "btcusdt@trade")
    await wait_all_tasks_blocked()
    assert not came.is_set()
    listener(streams, Route.PUBLIC, "btcusdt@trade")
    await came.wait()


async def test_the_audience_is_gone_when_the_last_has_left(streams: Streams) -> None:
    first = listener(streams, Route.PUBLIC, "btcusdt@trade")
    second = listener(streams, Route.PUBLIC, "btcusdt@trade")
    streams.leave(first)
    await streams.audience()
    streams.leave(second)
    with trio.move_on_after(0) as scope:
        await streams.audience()
    assert scope.cancelled_caught
