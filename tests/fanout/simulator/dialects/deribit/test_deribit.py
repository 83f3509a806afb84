"""Deribit as a client meets it: access, channels, heartbeats, REST."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.simulator.connection.http import Request
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import CALM, Answer, Mood, RestSide, Session, Venue
from fanout.simulator.dialects.deribit import Deribit
from fanout.simulator.dialects.deribit.requests import Own
from fanout.simulator.dialects.deribit.table import TABLE, UNTRADED
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import Listing, listed
from fanout.simulator.market.reader import Recorded, RecordedMessage
from fanout.simulator.market.ticks import BLOCK, LIQUIDATION, Depth, Quote, Tick, Trade
from tests.fanout.simulator.support import no_snapshot, trade

DERIBIT = Deribit()
BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
NEW = Session(own=Own())
KEY = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
QUOTE = Quote(6, 5, BTC, 8, ("83671.0", "10"), ("83671.5", "30"))


class Market:
    def whole(self, stream: str) -> Snapshot | None:
        found = Snapshot(70, 5, [("83671.0", "10")], [("83671.5", "30")])
        return found if stream == f"{BTC}@depth@0ms" else None

    def best(self, symbol: str) -> Quote | None:
        return QUOTE if symbol == BTC else None

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        return ()


def fill(trade_id: int = 9, **fields: Any) -> Trade:
    return trade(trade_id, symbol=BTC, price="83671.50", quantity="10", time_ms=5, **fields)


def said(name: str, **fields: Any) -> Any:
    payload = DERIBIT.payload(Tick(0, "", **fields), microseconds=False)
    return json.loads(DERIBIT.envelope(name, payload))


def asked(session: Session, method: str, mood: Mood = CALM, **params: Any) -> Answer:
    request = {"jsonrpc": "2.0", "id": 7, "method": f"public/{method}", "params": params}
    return DERIBIT.answer(session, json.dumps(request), 1_000, mood)


def reply(answer: Answer) -> Any:
    (text,) = answer.replies
    return json.loads(text)


def subscribed(session: Session, *channels: str, mood: Mood = CALM) -> Answer:
    return asked(session, "subscribe", mood, channels=channels)


def with_access() -> Session:
    return asked(NEW, "auth", **KEY).session


def test_prices_and_amounts_are_numbers_with_the_digits_of_the_market() -> None:
    tick = Tick(0, "", fill(9, buyer_is_maker=True), others=(fill(10),))
    assert b'"price":83671.50,' in DERIBIT.payload(tick, microseconds=False)
    message = said(f"trades.{BTC}.raw", trade=fill(9), others=(fill(10, buyer_is_maker=True),))
    one, other = message["params"]["data"]
    assert (one["trade_seq"], one["direction"], one["amount"]) == (9, "buy", 10)
    assert (other["direction"], other["timestamp"], other["trade_id"]) == ("sell", 5, "10")


def test_a_liquidation_and_a_block_trade_are_marked_on_the_stream_and_over_rest() -> None:
    rows = (fill(9, kind=LIQUIDATION), fill(10, kind=BLOCK))
    one, other = said(f"trades.{BTC}.raw", trade=rows[0], others=rows[1:])["params"]["data"]
    assert (one["liquidation"], other["block_trade_id"]) == ("T", "BLOCK-10")
    payload = DERIBIT.payload(Tick(0, "", rows[0], others=rows[1:]), microseconds=False)
    (found,) = DERIBIT.reader().read(DERIBIT.envelope(f"trades.{BTC}.100ms", payload))
    assert isinstance(found, Recorded)
    assert [each.kind for each in found.trades] == [LIQUIDATION, BLOCK]


def test_a_change_names_the_one_before() -> None:
    crossing = ("83672.0", "10")  # which only a fault adds to the bids
    depth = Depth(6, 5, BTC, 3, 8, 2, [("83671.0", "10")], [("83671.5", "0.0")], crossing)
    data = said(f"book.{BTC}.raw", depth=depth)["params"]["data"]
    assert (data["type"], data["prev_change_id"], data["change_id"]) == ("change", 2, 8)
    assert data["bids"] == [["change", 83671.0, 10]]
    assert data["asks"] == [["delete", 83671.5, 0.0]]


def test_a_book_begins_with_the_whole_of_it() -> None:
    (whole,) = DERIBIT.greeting(f"book.{BTC}.raw", f"{BTC}@depth@0ms", Market(), NEW)
    message = json.loads(DERIBIT.envelope(f"book.{BTC}.raw", whole))
    assert message["params"]["channel"] == f"book.{BTC}.raw"
    assert (message["params"]["data"]["type"], message["params"]["data"]["change_id"]) == (
        "snapshot",
        70,
    )
    (full,) = DERIBIT.greeting(f"book.{BTC}.none.1.100ms", "", Market(), NEW)
    assert json.loads(full)["bids"] == [[83671.0, 10]]
    assert DERIBIT.greeting(f"trades.{BTC}.raw", "", Market(), NEW) == []
    assert DERIBIT.greeting(f"book.{ETH}.none.1.100ms", "", Market(), NEW) == []
    assert DERIBIT.greeting(f"book.{ETH}.raw", "", Market(), NEW) == []


def test_an_empty_side_has_no_level() -> None:
    quote = replace(QUOTE, bid=("0", "0"))
    data = said(f"book.{BTC}.none.1.100ms", quote=quote)["params"]["data"]
    assert (data["bids"], data["asks"]) == ([], [[83671.5, 30]])


def test_raw_needs_access() -> None:
    names = (f"book.{BTC}.raw", f"trades.{BTC}.100ms")
    refused = subscribed(NEW, *names)
    assert reply(refused)["error"] == {
        "code": 13778,
        "message": "raw_subscriptions_not_available_for_unauthorized",
    }
    assert refused.session == NEW
    good = subscribed(with_access(), *names, "platform_state")
    assert sorted(reply(good)["result"]) == sorted((*names, "platform_state"))
    assert good.greeted == (*names, "platform_state")
    left = asked(good.session, "unsubscribe", channels=[names[0]])
    assert (reply(left)["result"], left.session.streams) == (
        [names[0]],
        (names[1], "platform_state"),
    )


def test_access_is_renewed_with_the_refresh_token() -> None:
    session = with_access()
    token = session.own.refresh_token  # type: ignore[attr-defined]
    renewed = asked(session, "auth", grant_type="refresh_token", refresh_token=token)
    assert reply(renewed)["result"]["expires_in"] == 900
    wrong = asked(session, "auth", grant_type="refresh_token", refresh_token="x")
    assert reply(wrong)["error"]["code"] == 13009
    assert reply(asked(NEW, "auth", grant_type="client_credentials"))["error"]["code"] == 13004


@pytest.mark.parametrize(
    ("how", "codes"),
    [("reject", (13004, None)), ("expire", (None, 13009)), ("revoke", (13004, 13009))],
)
def test_a_fault_takes_access_away(how: Any, codes: tuple[int | None, int | None]) -> None:
    session, mood = with_access(), Mood(auth=how)
    token = session.own.refresh_token  # type: ignore[attr-defined]
    answers = (
        asked(session, "auth", mood, **KEY),
        asked(session, "auth", mood, grant_type="refresh_token", refresh_token=token),
    )
    assert tuple(reply(each).get("error", {}).get("code") for each in answers) == codes
    without = DERIBIT.deprived(session, how, 0)
    assert without is not None
    assert reply(subscribed(without.session, f"trades.{BTC}.raw"))["error"]["code"] == 13778
    assert DERIBIT.deprived(NEW, how, 0) is None


def test_a_bad_channel_is_missing_or_fails_its_request() -> None:
    names = (f"trades.{BTC}.100ms", f"trades.{ETH}.100ms")
    mood = Mood(streams={names[0]})
    assert reply(subscribed(NEW, *names, mood=mood))["result"] == [names[0]]
    missing = subscribed(NEW, *names, mood=Mood(refused={ETH: "missing"}))
    assert (reply(missing)["result"], missing.refused) == ([names[0]], (ETH,))
    whole = subscribed(NEW, *names, mood=Mood(refused={ETH: "request"}))
    assert (reply(whole)["error"]["code"], whole.refused, whole.session) == (11050, (ETH,), NEW)


def test_heartbeats_come_where_they_are_asked_for() -> None:
    assert DERIBIT.pulses(NEW) == ()
    session = asked(NEW, "set_heartbeat", interval=30).session
    beat, test = DERIBIT.pulses(session)
    assert (beat.every_s, test.every_s, beat.answer_s, test.answer_s) == (30, 30, None, 10)
    (message,) = DERIBIT.pulse(test.name, session, Market(), 0)
    assert json.loads(message)["params"] == {"type": "test_request"}
    assert reply(asked(session, "test"))["result"] == {"version": "1.2.26"}
    assert reply(asked(session, "set_heartbeat", interval=9))["error"]["code"] == -32602


def test_maintenance_is_announced_where_it_is_subscribed() -> None:
    session = subscribed(NEW, "platform_state").session
    (message,) = DERIBIT.maintenance(True, 0, session)
    assert json.loads(message)["params"] == {
        "channel": "platform_state",
        "data": {"maintenance": True},
    }
    assert DERIBIT.maintenance(True, 0, NEW) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -32700),
        ("[]", -32600),
        ('{"method":"public/none"}', -32601),
        ('{"method":"public/subscribe","params":{"channels":[1]}}', -32602),
        ('{"method":"public/auth","params":{}}', -32602),
        (" " * 32_001, -32600),
    ],
)
def test_what_is_no_request_is_refused(text: str, code: int) -> None:
    (said,) = DERIBIT.answer(NEW, text, 0).replies
    assert json.loads(said)["error"]["code"] == code


def test_options_are_made_up_by_the_thousand() -> None:
    symbols = [DERIBIT.made_up_symbol(len(TABLE) + number) for number in range(1, 4_001)]
    assert len({*symbols, *TABLE}) == 4_000 + len(TABLE)
    assert "SOL-7JAN27-147-P" in symbols
    found = DERIBIT.made_up("SOL-7JAN27-147-P")
    assert found is not None
    assert (found.base, found.quote, found.contract_size) == ("SOL", "SOL", "1")
    assert DERIBIT.made_up("BTC-25DEC26-100000-X") is None


def test_the_stream_has_one_path() -> None:
    assert DERIBIT.destination("/ws/api/v2?x=1") is not None
    assert DERIBIT.destination("/ws") is None


BOOK_FRAME = (
    b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-1APR26-9-C.raw",'
    b'"data":{"type":"change","timestamp":5,"prev_change_id":1,"instrument_name":'
    b'"BTC-1APR26-9-C","change_id":3,"bids":[],"asks":[["delete",0.239,7.0],'
    b'["change",0.2385,9.3]]}}}'
)


def test_a_recorded_message_is_sent_as_it_is_also_to_those_without_access() -> None:
    raw, batched = DERIBIT.reader().read(BOOK_FRAME)
    assert isinstance(raw, RecordedMessage)
    assert isinstance(batched, RecordedMessage)
    assert (raw.symbol, raw.kind, batched.kind) == ("BTC-1APR26-9-C", "depth@0ms", "depth@100ms")
    payload = DERIBIT.payload(Tick(0, "", recorded=raw.payload), microseconds=False)
    assert DERIBIT.envelope("book.BTC-1APR26-9-C.raw", payload) == BOOK_FRAME
    levels = DERIBIT.reader().levels(payload)
    assert (levels.last_id, levels.asks) == (3, [("0.239", "0"), ("0.2385", "9.3")])
    assert not levels.is_whole


def test_other_recorded_messages_are_not_played() -> None:
    reader = DERIBIT.reader()
    assert reader.read(BOOK_FRAME.replace(b"book.", b"ticker.")) == ()
    assert reader.read(b'{"jsonrpc":"2.0","id":0,"result":[]}') == ()
    assert len(reader.read(BOOK_FRAME.replace(b".raw", b".100ms"))) == 1
    empty = DERIBIT.envelope(f"trades.{BTC}.raw", b"[]")
    assert reader.read(empty) == ()
    with pytest.raises(ValueError, match="trade_seq"):
        reader.read(DERIBIT.envelope(f"trades.{BTC}.raw", b"[{}]"))


@pytest.mark.parametrize(
    ("symbol", "terms"),
    [
        ("BTC-1APR26-9-C", ("reversed", "BTC", "BTC", "BTC", "1")),
        ("BTC-PERPETUAL", ("reversed", "BTC", "USD", "BTC", "0.5")),
        ("SOL_USDC-PERPETUAL", ("linear", "SOL", "USDC", "USDC", "0.5")),
    ],
)
def test_the_symbol_of_a_recorded_instrument_tells_its_terms(
    symbol: str, terms: tuple[str, ...]
) -> None:
    found = DERIBIT.reader().described(Listing(symbol, "1", "0.1", "0.5"))
    assert terms == (
        found.contract_type,
        found.base,
        found.quote,
        found.settled_in,
        found.contract_size,
    )


@pytest.fixture
def side() -> RestSide:
    listings = listed(TABLE.values(), UNTRADED)
    history = History(listings, 2_000)
    for trade_id in range(1, 1_501):
        history.add(fill(trade_id))
    limit = RateLimit(weight_limit=100, tolerated_429s=9, window_ms=5_000, ban_status=None)
    return DERIBIT.rest(
        Venue(listings=listings, quirks={}, history=history, limit=limit, snapshot=no_snapshot)
    )


def get(side: RestSide, target: str, now_ms: int = 0) -> Any:
    response = side.respond(Request("GET", f"/api/v2/public/{target}"), now_ms)
    return response.status, json.loads(response.body)


def test_the_listing_has_every_kind(side: RestSide) -> None:
    status, body = get(side, "get_instruments?currency=any")
    rows = {each["instrument_name"]: each for each in body["result"]}
    assert (status, set(rows)) == (200, {*TABLE, "BTC-26DEC25-100000-C"})
    kinds = {name: (row["kind"], row["instrument_type"]) for name, row in rows.items()}
    assert kinds[BTC] == ("future", "reversed")
    assert kinds["BTC_USDC-PERPETUAL"] == ("future", "linear")
    assert kinds["BTC_USDC"] == ("spot", "linear")
    assert kinds["BTC-25DEC26-85000-C"] == ("option", "reversed")
    assert rows[BTC]["settlement_period"] == "perpetual"
    option = rows["BTC-25DEC26-85000-C"]
    assert (option["strike"], option["option_type"], option["quote_currency"]) == (
        85_000,
        "call",
        "BTC",
    )
    assert option["expiration_timestamp"] == 1_798_185_600_000
    assert not rows["BTC-26DEC25-100000-C"]["is_active"]


def test_trades_are_found_by_their_sequence(side: RestSide) -> None:
    target = f"get_last_trades_by_instrument?instrument_name={BTC}&count=1000"
    page = get(side, f"{target}&start_seq=301&sorting=asc")[1]["result"]
    assert [page["trades"][each]["trade_seq"] for each in (0, -1)] == [301, 1_300]
    assert page["has_more"]
    page = get(side, f"{target}&start_seq=1301&sorting=asc")[1]["result"]
    assert (len(page["trades"]), page["has_more"]) == (200, False)
    page = get(side, f"{target}&sorting=desc")[1]["result"]
    assert [page["trades"][each]["trade_seq"] for each in (0, -1)] == [1_500, 501]


def test_an_error_has_status_400_and_a_code(side: RestSide) -> None:
    target = "get_last_trades_by_instrument?instrument_name=NOPE"
    status, body = get(side, target)
    assert (status, body["error"]) == (400, {"code": 13020, "message": "not_found"})
    assert get(side, "get_instruments", 5_000)[1]["error"]["code"] == -32602
    assert get(side, "nothing")[1]["error"]["code"] == -32601
    for _ in range(101):
        status, body = get(side, "get_time", 10_000)
    assert (status, body["error"]["code"]) == (429, 10028)
    assert get(side, "get_time", 15_000)[1]["result"] == 15_000
