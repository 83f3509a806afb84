"""Bybit as a client meets it: messages, requests that fail as a whole, REST."""

import json
from typing import Any
from uuid import UUID

import pytest

from fanout.simulator.connection.http import Request
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import CALM, Answer, Dialect, Mood, RestSide, Session, Venue
from fanout.simulator.dialects.bybit import BybitLinear, BybitSpot
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import listed
from fanout.simulator.market.ticks import Depth, Quote, Tick, Trade
from tests.fanout.simulator.support import no_snapshot, trade

LINEAR, SPOT = BybitLinear(), BybitSpot()
BTC = "BTCUSDT"
QUOTE = Quote(6, 5, BTC, 8, ("83671.10", "2"), ("83671.20", "3"))
TRADES, QUOTES, BOOK = f"publicTrade.{BTC}", f"orderbook.1.{BTC}", f"orderbook.200.{BTC}"


class Market:
    def whole(self, stream: str) -> Snapshot | None:
        found = Snapshot(70, 5, [("83671.10", "2")], [("83671.20", "3")], number=7)
        return found if stream == f"{BTC}@depth@100ms" else None

    def best(self, symbol: str) -> Quote | None:
        return QUOTE if symbol == BTC else None

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        return ()


def fill(trade_id: int = 9, **fields: Any) -> Trade:
    return trade(trade_id, symbol=BTC, price="83671.20", quantity="0.002", time_ms=5, **fields)


def said(dialect: Dialect, **fields: Any) -> Any:
    return json.loads(dialect.payload(Tick(0, "", **fields), microseconds=False))


def asked(session: Session, *args: str, op: str = "subscribe", mood: Mood = CALM) -> Answer:
    return LINEAR.answer(session, json.dumps({"req_id": "1", "op": op, "args": args}), 0, mood)


def test_trades_of_one_order_are_one_message() -> None:
    message = said(LINEAR, trade=fill(9), others=(fill(10, kind="RPI", buyer_is_maker=True),))
    assert (message["topic"], message["type"]) == (TRADES, "snapshot")
    one, other = message["data"]
    assert (one["S"], other["S"]) == ("Buy", "Sell")
    assert (one["RPI"], other["RPI"], one["BT"]) == (False, True, False)
    assert (one["p"], one["v"], one["T"], one["s"]) == ("83671.20", "0.002", 5, BTC)
    assert UUID(one["i"]).int >> 64 == LINEAR.wire_id(BTC, 9)
    assert one["i"] != other["i"]


def test_spot_has_numbers_as_ids() -> None:
    assert (
        said(SPOT, trade=fill(2_100_000_000_007_764_263))["data"][0]["i"] == "2100000000007764263"
    )
    assert SPOT.wire_id(BTC, 5) == 5


def test_update_ids_of_a_book_are_consecutive() -> None:
    depth = Depth(6, 5, BTC, 30, 80, 29, [("83671.10", "0")], [("83671.20", "3")], number=8)
    message = said(LINEAR, depth=depth)
    assert (message["topic"], message["type"]) == (BOOK, "delta")
    assert (message["data"]["u"], message["ts"], message["cts"]) == (8, 6, 5)
    assert message["data"]["b"] == [["83671.10", "0"]]
    (whole,) = LINEAR.greeting(BOOK, f"{BTC}@depth@100ms", Market(), Session())
    assert (json.loads(whole)["type"], json.loads(whole)["data"]["u"]) == ("snapshot", 7)


def test_a_quote_is_whole_and_repeated() -> None:
    message = said(LINEAR, quote=QUOTE)
    assert (message["topic"], message["type"], message["data"]["u"]) == (QUOTES, "snapshot", 8)
    assert LINEAR.greeting(QUOTES, "", Market(), Session()) == [
        json.dumps(message, separators=(",", ":")).encode()
    ]
    session = Session((QUOTES, TRADES, "orderbook.1.ETHUSDT"))
    (pulse,) = LINEAR.pulses(session)
    (again,) = LINEAR.pulse(pulse.name, session, Market(), 3_006)
    assert json.loads(again) == message | {"ts": 3_006, "cts": 3_006}
    assert LINEAR.pulses(Session((TRADES,))) == ()
    assert LINEAR.greeting(TRADES, "", Market(), session) == []


def test_a_request_succeeds_or_fails_as_a_whole() -> None:
    mood = Mood(streams=set(LINEAR.stream_names(BTC)))
    good = asked(Session(), TRADES, BOOK, mood=mood)
    assert json.loads(good.replies[0])["success"]
    assert (good.session.streams, good.greeted) == ((TRADES, BOOK), (TRADES, BOOK))
    bad = asked(Session(), TRADES, "publicTrade.NOPE", mood=mood)
    assert json.loads(bad.replies[0]) == {
        "success": False,
        "ret_msg": "error:handler not found,topic:publicTrade.NOPE",
        "conn_id": "cejreaspqfm9se7usbrg-2xh",
        "req_id": "1",
        "op": "subscribe",
    }
    assert bad.session.streams == ()
    again = asked(good.session, QUOTES, TRADES, mood=mood)
    assert "already subscribed,topic:publicTrade" in json.loads(again.replies[0])["ret_msg"]
    assert again.session == good.session
    left = asked(good.session, BOOK, op="unsubscribe")
    assert (json.loads(left.replies[0])["success"], left.session.streams) == (True, (TRADES,))


def test_a_fault_refuses_a_symbol_and_spares_the_others_of_its_request() -> None:
    mood = Mood(refused={"ETHUSDT": "request"})
    answer = asked(Session(), TRADES, "publicTrade.ETHUSDT", mood=mood)
    assert json.loads(answer.replies[0])["ret_msg"] == "Invalid symbol :[ETHUSDT]"
    assert (answer.refused, answer.session.streams) == (("ETHUSDT",), (TRADES,))


def test_a_connection_has_room_for_21_000_characters_of_topics() -> None:
    names = tuple(f"publicTrade.{each:08}" for each in range(1_050))
    assert not json.loads(asked(Session(), *names, "x").replies[0])["success"]
    assert json.loads(asked(Session(), *names).replies[0])["success"]


@pytest.mark.parametrize("text", ["{", "[]", '{"op":"auth"}', '{"op":7}'])
def test_what_is_no_request_is_refused(text: str) -> None:
    (reply,) = LINEAR.answer(Session(), text, 0).replies
    assert not json.loads(reply)["success"]


def test_the_answer_to_a_ping_has_the_same_operation() -> None:
    answer = LINEAR.answer(Session(), '{"req_id":"x","op":"ping"}', 0)
    reply = json.loads(answer.replies[0])
    assert (reply["op"], reply["ret_msg"], reply["req_id"], answer.is_pong) == (
        "ping",
        "pong",
        "x",
        True,
    )


def test_each_market_has_its_path() -> None:
    assert LINEAR.destination("/v5/public/linear") is not None
    assert LINEAR.destination("/v5/public/spot") is None
    assert SPOT.destination("/v5/public/spot") is not None


def side_of(dialect: Dialect) -> RestSide:
    listings = listed(dialect.table.values(), dialect.untraded)
    history = History(listings, 2_000)
    for trade_id in range(1, 1_101):
        history.add(fill(trade_id))
    limit = RateLimit(
        weight_limit=600, tolerated_429s=9, window_ms=5_000, over_status=403, ban_status=None
    )
    return dialect.rest(
        Venue(listings=listings, quirks={}, history=history, limit=limit, snapshot=no_snapshot)
    )


def get(side: RestSide, target: str, now_ms: int = 0) -> Any:
    response = side.respond(Request("GET", f"/v5/market/{target}"), now_ms)
    return response.status, json.loads(response.body)


def test_the_listing_comes_in_pages() -> None:
    side, rows, cursor = side_of(LINEAR), [], ""
    for _ in range(20):
        target = f"instruments-info?category=linear&limit=4{cursor}"
        result = get(side, target)[1]["result"]
        rows += result["list"]
        if not result["nextPageCursor"]:
            break
        cursor = f"&cursor={result['nextPageCursor']}"
    assert sorted(each["symbol"] for each in rows) == sorted((*LINEAR.table, "OLDUSDT"))
    by_symbol = {each["symbol"]: each for each in rows}
    assert by_symbol["BTC-26DEC26"]["contractType"] == "LinearFutures"
    assert by_symbol["BTCPERP"]["quoteCoin"] == "USDC"
    assert by_symbol[BTC]["lotSizeFilter"]["qtyStep"] == "0.001"


def test_spot_has_one_page_and_60_trades() -> None:
    side = side_of(SPOT)
    result = get(side, "instruments-info?category=spot&limit=1")[1]["result"]
    assert len(result["list"]) == len(SPOT.table) + 1
    assert "contractType" not in result["list"][0]
    trades = get(side, f"recent-trade?category=spot&symbol={BTC}&limit=60")[1]["result"]["list"]
    assert [each["execId"] for each in trades] == [str(each) for each in range(1_100, 1_040, -1)]
    assert get(side, f"recent-trade?category=spot&symbol={BTC}&limit=61")[1]["retCode"] == 10001


def test_recent_trades_have_the_ids_of_the_stream() -> None:
    _, answer = get(side_of(LINEAR), f"recent-trade?category=linear&symbol={BTC}&limit=1000")
    rows = answer["result"]["list"]
    assert len(rows) == 1_000
    assert rows[0]["execId"] == said(LINEAR, trade=fill(1_100))["data"][0]["i"]


@pytest.mark.parametrize(
    "target",
    [
        "recent-trade?category=linear&symbol=NOPE",
        "recent-trade?category=linear",
        "instruments-info?category=option",
        "instruments-info",
    ],
)
def test_an_error_has_status_200_and_a_code(target: str) -> None:
    status, body = get(side_of(LINEAR), target)
    assert (status, body["retCode"], body["result"]) == (200, 10001, {})


def test_too_many_requests_are_forbidden() -> None:
    side = side_of(LINEAR)
    for _ in range(600):
        get(side, "time")
    status, body = get(side, "time")
    assert (status, body["retMsg"]) == (403, "access too frequent")
    assert get(side, "time", 5_000)[1]["result"] == {"timeSecond": "5", "timeNano": "5000000000"}
    assert b"<html" in LINEAR.error(502, weight_limit=0, banned_until_ms=0)[0]
