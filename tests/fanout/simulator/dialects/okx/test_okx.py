"""OKX as a client meets it: messages, answers for each argument, REST."""

import json
from typing import Any

import pytest

from fanout.simulator.connection.http import Request
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import CALM, Answer, Form, Mood, RestSide, Session, Venue
from fanout.simulator.dialects.okx import Okx
from fanout.simulator.dialects.okx.table import TABLE, UNTRADED
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import listed
from fanout.simulator.market.ticks import Aggregate, Depth, Quote, Tick, Trade
from tests.fanout.simulator.support import no_snapshot, trade

OKX = Okx()
PUBLIC, BUSINESS = Session(own="public"), Session(own="business")
BTC = "BTC-USDT-SWAP"
BOOK = Snapshot(7, 1_652_459_225_700, [("83679.9", "12")], [("83680.1", "3")])

SUM = Aggregate(5, 1, BTC, "83679.9", "2", "2", 7, 9, 5, False)


class Market:
    """What a greeting may tell."""

    def whole(self, stream: str) -> Snapshot | None:
        return BOOK if stream == f"{BTC}@depth@100ms" else None

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        return tuple(fill(each) for each in range(10 - count, 10))

    def newest_aggregate(self, symbol: str) -> Aggregate | None:
        return SUM if symbol == BTC else None


def fill(trade_id: int = 9, **fields: Any) -> Trade:
    return trade(trade_id, symbol=BTC, price="83679.9", quantity="2", time_ms=5, **fields)


def said(**fields: Any) -> Any:
    return json.loads(OKX.payload(Tick(0, "", **fields), microseconds=False))


def asked(session: Session, *names: str, op: str = "subscribe", mood: Mood = CALM) -> Answer:
    args = [dict(zip(("channel", "instId"), each.split(":"), strict=True)) for each in names]
    return OKX.answer(session, json.dumps({"op": op, "args": args}), 0, mood)


def test_a_fill_and_an_aggregate_are_spelled_as_documented() -> None:
    row = {"instId": BTC, "px": "83679.9", "sz": "2", "ts": "5", "source": "0"}
    one = said(trade=fill(buyer_is_maker=True))
    assert one["arg"] == {"channel": "trades-all", "instId": BTC}
    assert one["data"] == [{**row, "tradeId": "9", "side": "sell"}]
    several = said(aggregate=SUM)
    assert several["arg"]["channel"] == "trades"
    assert several["data"] == [{**row, "tradeId": "9", "side": "buy", "count": "3"}]


def test_a_book_names_the_message_before_and_has_a_checksum_of_zero() -> None:
    depth = Depth(6, 5, BTC, 3, 8, 2, [("83679.9", "12")], [("83680.1", "0")], ("9", "1"))
    update = said(depth=depth)
    assert (update["action"], update["arg"]["channel"]) == ("update", "books")
    (row,) = update["data"]
    assert (row["prevSeqId"], row["seqId"], row["checksum"], row["ts"]) == (2, 8, 0, "5")
    assert row["bids"] == [["83679.9", "12", "0", "1"]]
    assert row["asks"] == [["83680.1", "0", "0", "0"]]
    (row,) = said(quote=Quote(6, 5, BTC, 8, ("1", "2"), ("3", "4")))["data"]
    assert (row["bids"], row["seqId"]) == ([["1", "2", "0", "1"]], 8)


def test_each_argument_has_an_answer_of_its_own() -> None:
    names = (f"books:{BTC}", "books:NO-SUCH", f"trades:{BTC}", f"trades-all:{BTC}")
    answer = asked(PUBLIC, *names, mood=Mood(streams=set(OKX.stream_names(BTC))))
    replies = [json.loads(each) for each in answer.replies]
    assert [each["event"] for each in replies] == ["subscribe", "error", "subscribe", "error"]
    assert [replies[index]["code"] for index in (1, 3)] == ["60018", "64001"]
    assert "migrated to the '/business' URL" in replies[3]["msg"]
    assert json.loads(asked(BUSINESS, f"books:{BTC}").replies[0])["code"] == "60018"
    assert "channel:books,instId:NO-SUCH doesn't exist" in replies[1]["msg"]
    assert answer.session.streams == answer.greeted == (f"books:{BTC}", f"trades:{BTC}")
    again = asked(answer.session, f"books:{BTC}", f"trades:{BTC}")
    assert (again.greeted, again.session) == ((f"books:{BTC}",), answer.session)
    left = asked(answer.session, f"books:{BTC}", op="unsubscribe")
    assert left.session.streams == (f"trades:{BTC}",)
    assert asked(BUSINESS, f"trades-all:{BTC}").session.streams == (f"trades-all:{BTC}",)


def test_a_topic_is_refused_where_a_fault_says_so() -> None:
    mood = Mood(refused={BTC: "topic"})
    answer = asked(PUBLIC, f"books:{BTC}", "books:BTC-USDT", mood=mood)
    assert answer.refused == (BTC,)
    assert answer.session.streams == ("books:BTC-USDT",)


@pytest.mark.parametrize("text", ["{", "[]", '{"op":"login","args":[]}', '{"op":"subscribe"}'])
def test_what_is_no_request_is_refused(text: str) -> None:
    (reply,) = OKX.answer(PUBLIC, text, 0).replies
    assert json.loads(reply)["code"] == "60012"


def test_a_ping_is_text() -> None:
    answer = OKX.answer(PUBLIC, "ping", 0)
    assert (answer.replies, answer.is_pong) == (("pong",), True)


def test_books_and_trades_begin_with_what_there_is() -> None:
    market = Market()
    (whole,) = OKX.greeting(f"books:{BTC}", f"{BTC}@depth@100ms", market, PUBLIC)
    (row,) = json.loads(whole)["data"]
    assert (row["prevSeqId"], row["seqId"]) == (-1, 7)
    assert OKX.greeting("books:X", "X@depth@100ms", market, PUBLIC) == []
    for symbol, count in ((BTC, "3"), ("BTC-USDT", "1")):
        (last,) = OKX.greeting(f"trades:{symbol}", f"{symbol}@aggTrade", market, PUBLIC)
        (row,) = json.loads(last)["data"]
        assert (row["tradeId"], row["count"]) == ("9", count)


def test_a_quiet_book_is_kept_alive() -> None:
    session = Session((f"books:{BTC}", f"trades:{BTC}"), own="public")
    (pulse,) = OKX.pulses(session)
    (message,) = OKX.pulse(pulse.name, session, Market(), 99)
    (row,) = json.loads(message)["data"]
    assert (row["prevSeqId"], row["seqId"], row["bids"], row["ts"]) == (7, 7, [], "99")
    assert OKX.pulses(PUBLIC) == ()
    assert b'"64008"' in OKX.shutdown(0, Form())


def test_the_routes_have_their_paths() -> None:
    for path, route in (("/ws/v5/public", "public"), ("/business", "business")):
        found = OKX.destination(path)
        assert found is not None
        assert (found.route, found.session.own) == (route, route)
    assert OKX.destination("/ws/v5/private") is None


@pytest.mark.parametrize("number", [1, 999])
def test_a_made_up_symbol_is_spelled_as_a_pair(number: int) -> None:
    symbol = OKX.made_up_symbol(number)
    found = OKX.made_up(symbol)
    assert found is not None
    assert found.symbol == symbol
    assert OKX.made_up("BTC-USDT") is None
    assert OKX.made_up(f"{symbol}-SWAP") is None


@pytest.fixture
def side() -> RestSide:
    listings = listed(TABLE.values(), UNTRADED)
    history = History(listings, 1_000)
    for trade_id in range(1, 251):
        history.add(fill(trade_id))
    limit = RateLimit(weight_limit=20, tolerated_429s=5, window_ms=2_000, ban_status=None)
    return OKX.rest(
        Venue(listings=listings, quirks={}, history=history, limit=limit, snapshot=no_snapshot)
    )


def get(side: RestSide, target: str, now_ms: int = 0) -> Any:
    response = side.respond(Request("GET", f"/api/v5/{target}"), now_ms)
    return response.status, json.loads(response.body)


def test_the_listing_is_in_parts(side: RestSide) -> None:
    _, spot = get(side, "public/instruments?instType=SPOT")
    assert {each["instId"] for each in spot["data"]} >= {"BTC-USDT", "LUNA-USDT"}
    _, swaps = get(side, "public/instruments?instType=SWAP")
    rows = {each["instId"]: each for each in swaps["data"]}
    assert (rows[BTC]["ctType"], rows[BTC]["ctVal"], rows[BTC]["ctValCcy"]) == (
        "linear",
        "0.01",
        "BTC",
    )
    assert (rows["BTC-USD-SWAP"]["ctType"], rows["NEW-USDT-SWAP"]["tickSz"]) == ("inverse", "")
    _, names = get(side, "public/underlying?instType=OPTION")
    assert names["data"] == [["BTC-USD", "ETH-USD"]]
    _, options = get(side, "public/instruments?instType=OPTION&uly=ETH-USD")
    assert [each["instId"] for each in options["data"]] == ["ETH-USD-261225-3000-P"]


def test_history_has_the_trades_below_an_id(side: RestSide) -> None:
    _, page = get(side, f"market/history-trades?instId={BTC}&type=1&after=151&limit=100")
    assert [each["tradeId"] for each in page["data"]] == [str(each) for each in range(150, 50, -1)]
    _, newest = get(side, f"market/trades?instId={BTC}&limit=500")
    assert len(newest["data"]) == 250
    _, book = get(side, f"market/books?instId={BTC}&sz=400")
    assert set(book["data"][0]) == {"asks", "bids", "ts", "seqId"}


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("market/trades?instId=NO-SUCH", "51001"),
        ("market/trades", "50014"),
        ("market/trades?instId=BTC-USDT&limit=x", "51000"),
        ("public/instruments?instType=OPTION", "50014"),
        ("public/instruments?instType=BONDS", "51000"),
    ],
)
def test_an_error_has_status_200_and_a_code(side: RestSide, target: str, code: str) -> None:
    status, body = get(side, target)
    assert (status, body["code"], body["data"]) == (200, code, [])


def test_the_eleventh_request_for_the_time_in_two_seconds_is_refused(side: RestSide) -> None:
    for _ in range(10):
        assert get(side, "public/time")[0] == 200
    assert get(side, "public/time") == (
        429,
        {"code": "50011", "msg": "Requests too frequent.", "data": []},
    )
    assert get(side, "public/time", 2_000)[0] == 200
    assert get(side, "public/nothing", 2_000)[0] == 404
