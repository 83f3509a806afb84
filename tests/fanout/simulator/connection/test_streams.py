"""Who hears what: the spelling, the route, the envelope."""

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.frame_protocol import FrameProtocol

from fanout.simulator.connection.frames import text_frame
from fanout.simulator.connection.streams import Streams, Subscriber
from fanout.simulator.dialects.base import Dialect, Form, Session
from fanout.simulator.dialects.binance_usdm.routes import MARKET, PRIVATE, PUBLIC
from fanout.simulator.market.ticks import Tick
from tests.fanout.simulator.support import SPOT, USDM, tick, trade
from tests.fanout.simulator.toy import Toy

AGGREGATE = Tick(0, "BTCUSDT@aggTrade", recorded=b'{"e":"aggTrade"}')


@pytest.fixture
def streams() -> Streams:
    return Streams(USDM, ["BTCUSDT", "币安人生USDT"])


def listener(streams: Streams, route: str, *names: str, combined: bool = False) -> Subscriber:
    subscriber = Subscriber(route)
    streams.tune(subscriber, Session(names, Form(combined)))
    return subscriber


async def heard(subscriber: Subscriber) -> list[Any]:
    if not subscriber.outbox.backlog_bytes:
        return []
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(await subscriber.outbox.take())
    return [json.loads(frame.payload) for frame in protocol.received_frames()]


async def test_a_stream_on_its_route_is_heard(streams: Streams) -> None:
    public = listener(streams, PUBLIC, "btcusdt@trade")
    market = listener(streams, MARKET, "btcusdt@aggTrade")
    streams.publish([tick(trade(1)), AGGREGATE])
    assert [message["t"] for message in await heard(public)] == [1]
    assert [message["e"] for message in await heard(market)] == ["aggTrade"]


@pytest.mark.parametrize(
    ("route", "name"),
    [
        (MARKET, "btcusdt@trade"),
        (PUBLIC, "btcusdt@aggTrade"),
        (PRIVATE, "btcusdt@trade"),
        (PUBLIC, "BTCUSDT@trade"),
        (PUBLIC, "btcusdt@Trade"),
        (MARKET, "btcusdt@aggtrade"),
        (PUBLIC, "ethusdt@trade"),
        (PUBLIC, "btcusdt@depth@250ms"),
        (PUBLIC, ""),
    ],
)
async def test_the_wrong_route_or_spelling_is_silent(
    streams: Streams, route: str, name: str
) -> None:
    subscriber = listener(streams, route, name)
    streams.publish([tick(trade()), AGGREGATE])
    assert await heard(subscriber) == []


async def test_each_subscriber_chooses_its_envelope(streams: Streams) -> None:
    raw = listener(streams, PUBLIC, "btcusdt@trade")
    combined = listener(streams, PUBLIC, "btcusdt@trade", combined=True)
    streams.publish([tick(trade(5))])
    (payload,) = await heard(raw)
    assert await heard(combined) == [{"stream": "btcusdt@trade", "data": payload}]


async def test_changing_the_envelope_changes_what_follows(streams: Streams) -> None:
    subscriber = listener(streams, PUBLIC, "btcusdt@trade")
    streams.publish([tick(trade(1))])
    streams.tune(subscriber, Session(("btcusdt@trade",), form=Form(combined=True)))
    streams.publish([tick(trade(2))])
    first, second = await heard(subscriber)
    assert "stream" not in first
    assert second["data"]["t"] == 2


async def test_a_chinese_stream_name_goes_out_as_utf_8(streams: Streams) -> None:
    subscriber = listener(streams, PUBLIC, "币安人生usdt@trade", combined=True)
    streams.publish([tick(trade(symbol="币安人生USDT"))])
    assert "币安人生usdt@trade".encode() in await subscriber.outbox.take()


async def test_an_unsubscribed_stream_is_no_longer_sent(streams: Streams) -> None:
    subscriber = listener(streams, PUBLIC, "btcusdt@trade")
    streams.tune(subscriber, Session())
    streams.publish([tick(trade())])
    assert await heard(subscriber) == []


async def test_a_subscriber_that_leaves_is_removed(streams: Streams) -> None:
    subscriber = listener(streams, PUBLIC, "btcusdt@trade")
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
    listener(streams, MARKET, "btcusdt@trade")
    await wait_all_tasks_blocked()
    assert not came.is_set()
    listener(streams, PUBLIC, "btcusdt@trade")
    await came.wait()


async def test_the_audience_is_gone_when_the_last_has_left(streams: Streams) -> None:
    first = listener(streams, PUBLIC, "btcusdt@trade")
    second = listener(streams, PUBLIC, "btcusdt@trade")
    streams.leave(first)
    await streams.audience()
    streams.leave(second)
    with trio.move_on_after(0) as scope:
        await streams.audience()
    assert scope.cancelled_caught


@pytest.mark.parametrize("dialect", [USDM, SPOT], ids=lambda each: each.name)
async def test_a_message_is_raw_or_in_its_envelope(dialect: Dialect) -> None:
    streams = Streams(dialect, ["币USDT"])
    ((name, (_, route)),) = [
        each for each in dialect.stream_names("币USDT").items() if each[1][0] == "trade"
    ]
    raw = listener(streams, route, name)
    combined = listener(streams, route, name, combined=True)
    streams.publish([Tick(0, "币USDT@trade", recorded=b'{"t":1}')])
    assert await raw.outbox.take() == text_frame(b'{"t":1}')
    has_envelope = dialect.name.startswith("binance")
    envelope = '{"stream":"币usdt@trade","data":{"t":1}}'.encode() if has_envelope else b'{"t":1}'
    assert await combined.outbox.take() == text_frame(envelope)


async def test_a_symbol_listed_later_is_sent_to_earlier_subscribers() -> None:
    streams = Streams(USDM, ["BTCUSDT"])
    early = listener(streams, PUBLIC, "newusdt@trade")
    elsewhere = listener(streams, MARKET, "newusdt@trade")
    streams.add("NEWUSDT")
    late = listener(streams, PUBLIC, "newusdt@trade")
    streams.publish([tick(trade(5, symbol="NEWUSDT"))])
    assert [row["t"] for each in (early, late) for row in await heard(each)] == [5, 5]
    assert await heard(elsewhere) == []


async def test_each_subscriber_chooses_its_unit_of_time() -> None:
    streams = Streams(SPOT, ["BTCUSDT"])
    names = ("btcusdt@trade",)
    coarse, fine = Subscriber(""), Subscriber("")
    streams.tune(coarse, Session(names))
    streams.tune(fine, Session(names, Form(microseconds=True)))
    streams.publish([tick(trade(5, time_ms=7, event_ms=8, beyond_us=123))])
    assert [(row["T"], row["E"]) for row in await heard(coarse)] == [(7, 8)]
    assert [(row["T"], row["E"]) for row in await heard(fine)] == [(7_123, 8_123)]


class Splits(Toy):
    """A venue without aggregates, which sends each letter of a recorded payload by itself."""

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        return {"trades": ("trade", "")}

    def split(self, payload: bytes) -> list[bytes]:
        return [bytes([each]) for each in payload]

    def personal(
        self, message: bytes, name: str | None, session: Session, count: int
    ) -> tuple[bytes, int]:
        return b'[%d,"%b"]' % (count + 1, message), count + 1


async def test_a_payload_may_be_several_numbered_messages_of_each_subscriber() -> None:
    streams = Streams(Splits(), ["BTCUSDT"])
    first = listener(streams, "", "trades")
    streams.publish([Tick(0, "BTCUSDT@trade", recorded=b"a")])
    second = listener(streams, "", "trades")
    streams.publish([AGGREGATE, Tick(0, "BTCUSDT@trade", recorded=b"bc")])
    assert await heard(first) == [[1, "a"], [2, "b"], [3, "c"]]
    assert await heard(second) == [[1, "b"], [2, "c"]]


async def test_a_stream_that_the_venue_lacks_is_sent_to_nobody() -> None:
    streams = Streams(SPOT, [])
    streams.publish([tick(trade()), AGGREGATE])
    assert not streams.is_heard("BTCUSDT@trade")
