"""Binance spot as a client meets it: messages, ids of requests, REST, limits, and a recording."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from wsproto.events import CloseConnection, Ping, TextMessage

from fanout.simulator.connection.http import Request
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import RestSide, Session, Venue
from fanout.simulator.dialects.binance_spot.table import TABLE, UNTRADED
from fanout.simulator.faults import Decimals
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import listed
from tests.captures import capture_path
from tests.fanout.simulator.support import (
    SPOT,
    MemoryExchange,
    ask,
    connect,
    data,
    no_snapshot,
    rest,
    start,
    tick,
    trade,
    used_weight,
)

RECORDED = (
    '{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",'
    '"q":"0.02000000","T":1723161255342,"m":true,"M":true}'
)
CAPTURE = "venues/binance_spot_trade_bookticker_depth_btcusdt_20240808.gz"
MICROSECONDS = {"x-mbx-time-unit": "MICROSECOND"}


def spot_trade(**fields: Any) -> Any:
    return trade(
        3735683259,
        price="61837.63000000",
        quantity="0.02000000",
        event_ms=1723161255343,
        time_ms=1723161255342,
        buyer_is_maker=True,
        **fields,
    )


def test_a_trade_is_spelled_as_recorded() -> None:
    assert SPOT.payload(tick(spot_trade()), microseconds=False).decode() == RECORDED


def test_in_microseconds_a_trade_is_spelled_with_all_its_digits() -> None:
    said = json.loads(SPOT.payload(tick(spot_trade(beyond_us=77)), microseconds=True))
    assert (said["T"], said["E"]) == (1723161255342077, 1723161255343077)
    assert said | {"T": 0, "E": 0} == json.loads(RECORDED) | {"T": 0, "E": 0}


@pytest.mark.parametrize("request_id", ["1", "-5", '"abc123"', "null", str(2**63 - 1)])
def test_an_id_may_be_a_number_a_text_or_null(request_id: str) -> None:
    answer = SPOT.answer(Session(), f'{{"method":"SUBSCRIBE","params":["a"],"id":{request_id}}}', 0)
    assert answer.replies[0] == f'{{"result":null,"id":{request_id}}}'
    assert answer.session == Session(("a",))


@pytest.mark.parametrize("request_id", ["1.5", "true", '"a-b"', f'"{37 * "a"}"', str(2**63), "[]"])
def test_another_id_is_refused(request_id: str) -> None:
    answer = SPOT.answer(Session(), f'{{"method":"SUBSCRIBE","params":["a"],"id":{request_id}}}', 0)
    assert json.loads(answer.replies[0])["error"]["code"] == 2


@pytest.fixture
def history() -> History:
    return History(listed(TABLE.values(), UNTRADED), 2_000)


@pytest.fixture
def side(history: History) -> RestSide:
    return side_of(history, 6_000)


def side_of(history: History, weight_limit: int) -> RestSide:
    limit = RateLimit(weight_limit=weight_limit, tolerated_429s=1)
    listings = listed(TABLE.values(), UNTRADED)
    return SPOT.rest(
        Venue(listings=listings, quirks={}, history=history, limit=limit, snapshot=no_snapshot)
    )


def body(side: RestSide, target: str, **headers: str) -> Any:
    return json.loads(side.respond(Request("GET", target, headers=headers), 1_000).body)


def test_a_row_of_trades_is_spelled_as_documented(side: RestSide, history: History) -> None:
    history.add(spot_trade(beyond_us=5))
    row = {
        "id": 3735683259,
        "price": "61837.63000000",
        "qty": "0.02000000",
        "quoteQty": "1236.75260000",
        "time": 1723161255342,
        "isBuyerMaker": True,
        "isBestMatch": True,
    }
    target = "/api/v3/trades?symbol=BTCUSDT"
    assert body(side, target) == [row]
    fine = Request("GET", target, headers=MICROSECONDS)
    assert json.loads(side.respond(fine, 0).body) == [row | {"time": 1723161255342005}]


def test_old_trades_need_no_key_and_come_a_thousand_at_a_time(
    side: RestSide, history: History
) -> None:
    for trade_id in range(1, 1_500):
        history.add(trade(trade_id))
    target = "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=5&limit=1000"
    assert [row["id"] for row in body(side, target)] == list(range(5, 1_005))


def test_the_listing_has_eight_decimals_whatever_the_tick_is(side: RestSide) -> None:
    info = body(side, "/api/v3/exchangeInfo")
    rows = {row["symbol"]: row for row in info["symbols"]}
    assert rows.keys() == TABLE.keys() | {each.symbol for each in UNTRADED}
    filters = {each["filterType"]: each for each in rows["BTCUSDT"]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert rows["BTCUSDT"]["quotePrecision"] == 8
    assert (rows["ETHBTC"]["baseAsset"], rows["ETHBTC"]["quoteAsset"]) == ("ETH", "BTC")
    assert rows["BCCBTC"]["status"] == "BREAK"


def test_the_listing_can_be_asked_for_some_symbols(side: RestSide) -> None:
    one = body(side, "/api/v3/exchangeInfo?symbol=ETHUSDT")["symbols"]
    assert [row["symbol"] for row in one] == ["ETHUSDT"]
    two = body(side, "/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22,%22ETHBTC%22%5D")["symbols"]
    assert [row["symbol"] for row in two] == ["BTCUSDT", "ETHBTC"]
    assert body(side, "/api/v3/exchangeInfo?symbol=NOSUCH")["code"] == -1121
    assert body(side, "/api/v3/exchangeInfo?symbols=%5B1%5D")["code"] == -1100


@pytest.mark.parametrize(
    ("name", "weight"),
    [("ping", 1), ("exchangeInfo", 20), ("trades", 25), ("historicalTrades", 25), ("aggTrades", 4)],
)
def test_a_request_costs_its_documented_weight(side: RestSide, name: str, weight: int) -> None:
    response = side.respond(Request("GET", f"/api/v3/{name}?symbol=BTCUSDT"), 0)
    assert (response.status, used_weight(response)) == (200, weight)


def test_a_refusal_has_a_retry_after(history: History) -> None:
    side = side_of(history, 20)
    request = Request("GET", "/api/v3/trades?symbol=BTCUSDT")
    first, second = (side.respond(request, 50_500) for _ in range(2))
    assert (first.status, first.retry_after_s) == (429, 10)
    assert b"Too much request weight used; current limit is 20 request weight" in first.body
    assert (second.status, second.retry_after_s) == (418, 120)
    assert b"Way too much request weight used; IP banned until 170500." in second.body


async def test_a_ping_comes_every_20_seconds_and_must_be_answered_within_a_minute(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, dialect="binance-spot")
    client = await venue.client("/ws/btcusdt@trade")
    assert isinstance(await client.event(), Ping)
    assert trio.current_time() == pytest.approx(20)
    while await client.event() is not None:
        pass
    assert trio.current_time() == pytest.approx(80)


async def test_the_sixth_message_in_a_second_ends_the_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, dialect="binance-spot")
    client = await venue.client("/ws")
    for number in range(6):
        await client.send(TextMessage(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}'))
    events = [await client.event() for _ in range(6)]
    assert all(isinstance(each, TextMessage) for each in events[:5])
    assert isinstance(events[5], CloseConnection)
    assert (events[5].code, events[5].reason) == (1008, "Too many requests")


async def test_a_synthetic_market_speaks_spot_end_to_end(nursery: trio.Nursery) -> None:
    simulator = await start(nursery, dialect="binance-spot", symbols=("BTCUSDT",), rate=5_000.0)
    async with connect(simulator, "/stream?timeUnit=MICROSECOND") as client:
        reply = await ask(client, "SUBSCRIBE", "btcusdt@trade")
        assert reply == {"result": None, "id": 1}
        rows = [(await data(client))["data"] for _ in range(500)]
    assert [row["t"] for row in rows] == list(range(rows[0]["t"], rows[0]["t"] + 500))
    assert all(row.keys() == set("eEstpqTmM") for row in rows)
    assert all(len(row["p"].partition(".")[2]) == 8 for row in rows)
    assert any(row["T"] % 1_000 for row in rows)
    async with rest(simulator) as http:
        shown = (await http.request("/api/v3/trades?symbol=BTCUSDT&limit=1000")).body
        assert (await http.request("/fapi/v1/trades?symbol=BTCUSDT")).status == 404
    assert shown[-1]["id"] >= rows[-1]["t"]


async def test_other_units_are_spelled_with_eight_decimals(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, dialect="binance-spot")
    venue.faults.inject(Decimals("BTCUSDT", price=1))
    (row,) = (await venue.get("/api/v3/exchangeInfo?symbol=BTCUSDT")).body["symbols"]
    filters = {each["filterType"]: each for each in row["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10000000"


async def test_the_recorded_capture_is_replayed_whole_and_verbatim(nursery: trio.Nursery) -> None:
    path = capture_path(CAPTURE)
    simulator = await start(nursery, dialect="binance-spot", captures=(path,), speed=None)
    recorded = [each for each in lines(path) if '@trade"' in each]
    async with rest(simulator) as http:
        past = (await http.request("/api/v3/trades?symbol=BTCUSDT")).body
    async with connect(simulator, "/stream?streams=btcusdt@trade") as client:
        received = [await client.get_message() for _ in recorded]
        await simulator.finished.wait()
    assert received == recorded
    assert len(received) == 9_757
    assert past[-1]["id"] == json.loads(received[0])["data"]["t"] - 1


async def test_a_recording_in_milliseconds_is_sent_in_microseconds_where_asked_for(
    nursery: trio.Nursery,
) -> None:
    path = capture_path(CAPTURE)
    simulator = await start(nursery, dialect="binance-spot", captures=(path,), speed=None)
    async with connect(simulator, "/ws/btcusdt@trade?timeUnit=MICROSECOND") as client:
        first = await data(client)
    assert first == json.loads(RECORDED) | {"E": 1723161255343000, "T": 1723161255342000}


def lines(path: Path) -> list[str]:
    text = gzip.decompress(path.read_bytes()).decode()
    return [line.split(" ", 1)[1] for line in text.splitlines()]
