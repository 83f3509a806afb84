"""The toolbox of REST, with a venue of its own: paths, values, limits, spans, pages, odd rows."""

import json
from typing import Any

import pytest

from fanout.simulator.connection.http import HTML, JSON, Request, Response
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.listings import odd_rows, page_of
from fanout.simulator.dialects.rest import (
    Call,
    Endpoint,
    RejectedError,
    Rest,
    Span,
    Words,
    encode,
    rows_of,
)
from fanout.simulator.market.history import Shelf
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.ticks import Trade
from tests.fanout.simulator.support import trade


class ToyWords(Words):
    def no_path(self, request: Request) -> RejectedError:
        return RejectedError(404, "path", request.path)

    def missing(self, name: str) -> RejectedError:
        return RejectedError(200, "missing", name)

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(200, "invalid", f"{name}={value}")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(400, "symbol", symbol)

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        return encode([rejected.code, rejected.message, now_ms])


def values_of(call: Call) -> bytes:
    values = call.values
    symbol = values.symbol("symbol", {"BTC-USD", "tA:B"})
    sort = values.choice("sort", {"asc", "desc"}, default="desc")
    limit = values.limit(default=5, most=10)
    depth = values.limit("depth", default=5, most=10, clamps=True)
    return encode([symbol, values.integer("after"), sort, limit, depth, values.text("note")])


def rest_of(weight: Any = 1, **limits: Any) -> Rest:
    endpoints = {
        "/products/{symbol}/trades": Endpoint(weight, values_of),
        "/v5/time": Endpoint(1, lambda call: encode(call.now_ms)),
        "/v5/kind": Endpoint(1, lambda call: encode(call.values.choice("kind", {"spot"}))),
    }
    limit = RateLimit(weight_limit=3, tolerated_429s=1, **limits)
    return Rest(endpoints, limit, ToyWords(), headers=lambda spent: {"used": str(spent.used)})


def get(rest: Rest, target: str, now_ms: int = 0, method: str = "GET") -> Response:
    return rest.respond(Request(method, target), now_ms)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/v5/time?x=", 7),
        ("/v5/kind?kind=spot", "spot"),
        ("/v5/kind", ["missing", "kind", 7]),
        ("/v5/kind?kind=linear", ["invalid", "kind=linear", 7]),
        ("/products/BTC-USD/trades", ["BTC-USD", None, "desc", 5, 5, None]),
        (
            "/products/tA%3AB/trades?after=9&sort=asc&limit=10&depth=99&note=",
            ["tA:B", 9, "asc", 10, 10, ""],
        ),
        ("/products/NO/trades", ["symbol", "NO", 7]),
        ("/products/BTC-USD/trades?after=-1", ["invalid", "after=-1", 7]),
        ("/products/BTC-USD/trades?limit=0", ["invalid", "limit=0", 7]),
        ("/products/BTC-USD/trades?limit=11", ["invalid", "limit=11", 7]),
        ("/products/BTC-USD/trades?sort=up", ["invalid", "sort=up", 7]),
        ("/products/BTC-USD", ["path", "/products/BTC-USD", 7]),
        ("/products/BTC-USD/x/trades", ["path", "/products/BTC-USD/x/trades", 7]),
    ],
)
def test_a_request_is_answered_by_its_path_and_bad_values_in_the_venues_words(
    target: str, answer: Any
) -> None:
    assert json.loads(get(rest_of(), target, 7).body) == answer


def test_an_error_has_its_status_and_an_unknown_method_is_an_unknown_path() -> None:
    rest = rest_of()
    statuses = [get(rest, f"/{path}").status for path in ("products/NO/trades", "v5/kind", "x")]
    assert statuses == [400, 200, 404]
    assert get(rest, "/v5/time", method="POST").status == 404


def test_the_weight_may_follow_from_the_values_and_is_in_the_headers() -> None:
    rest = rest_of(lambda values: 2 if values.text("limit") else 1)
    targets = ("?limit=x", "", "/nothing")
    found = [get(rest, f"/products/BTC-USD/trades{target}").headers for target in targets]
    assert found == [{"used": "2"}, {"used": "3"}, {"used": "3"}]


def test_over_the_limit_a_venue_without_bans_refuses_until_its_window_ends() -> None:
    rest = rest_of(window_ms=5_000, over_status=403, ban_status=None)
    answers = [get(rest, "/v5/time", 4_999) for _ in range(9)]
    assert [each.status for each in answers] == [200] * 3 + [403] * 6
    assert (answers[0].content_type, answers[-1].content_type) == (JSON, HTML)
    assert b"403 Forbidden" in answers[-1].body
    assert get(rest, "/v5/time", 5_000).status == 200


def test_a_ban_has_the_venues_status() -> None:
    rest = rest_of(window_ms=5_000, ban_status=403)
    assert [get(rest, "/v5/time").status for _ in range(5)] == [200, 200, 200, 429, 403]
    assert get(rest, "/v5/time", 119_999).status == 403


@pytest.mark.parametrize(
    ("span", "limit", "newest", "ids"),
    [
        (Span(), 3, True, [28, 29, 30]),
        (Span(), 3, False, [11, 12, 13]),
        (Span(first_id=15), 3, False, [15, 16, 17]),
        (Span(first_id=15), 3, True, [28, 29, 30]),
        (Span(last_id=15), 3, True, [13, 14, 15]),
        (Span(first_id=5, last_id=12), 3, True, [11, 12]),
        (Span(first_id=20, last_id=19), 3, True, []),
        (Span(first_id=20, last_id=19), 3, False, []),
        (Span(first_id=40, last_id=50), 3, True, []),
        (Span(start_ms=1_200, end_ms=1_400), 2, True, [13, 14]),
        (Span(start_ms=1_200, end_ms=1_400), 2, False, [12, 13]),
        (Span(end_ms=1_200), 9, True, [11, 12]),
    ],
)
def test_trades_are_found_by_id_and_by_time(
    span: Span, limit: int, newest: bool, ids: list[int]
) -> None:
    shelf: Shelf[Trade] = Shelf(20)
    for number in range(1, 31):
        shelf.add(trade(number, time_ms=100 * number))
    assert [row.trade_id for row in rows_of(shelf, span, limit, newest=newest)] == ids


def test_a_listing_comes_in_pages_which_a_change_of_it_does_not_upset() -> None:
    listings = {symbol: Listing(symbol, "1", "1", "1") for symbol in "EACDB"}
    first = page_of(listings, 2, None)
    assert ([each.symbol for each in first.listings], first.cursor) == (["A", "B"], "B")
    del listings["B"]
    second = page_of(listings, 2, first.cursor)
    assert ([each.symbol for each in second.listings], second.cursor) == (["C", "D"], "D")
    assert page_of(listings, 2, second.cursor) == ([listings["E"]], None)
    assert page_of(listings, 2, "zzz") == ([], None)


def test_rows_are_odd_as_faults_made_them() -> None:
    listings = [Listing(symbol, "1", "0.1", "1") for symbol in "AB"]
    rows = odd_rows(
        listings,
        {"A": ("twice", "conflict", "no-filters")},
        lambda listing: {"symbol": listing.symbol, "tick": listing.tick_size},
        {"no-filters": {"tick": None}, "null-type": {"symbol": None}},
    )
    assert [row["symbol"] for row in rows] == ["A", "A", "A", "B"]
    assert [row["tick"] for row in rows] == [None, None, None, "0.1"]
