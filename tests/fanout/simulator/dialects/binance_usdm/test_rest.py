"""REST as a function: rows, errors, and the weight of the clock minute."""

import json
from typing import Any

import pytest

from fanout.simulator.connection.http import Request, Response
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import RestSide as Rest
from fanout.simulator.dialects.base import Venue
from fanout.simulator.dialects.binance_usdm.table import TABLE, UNTRADED
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import listed
from fanout.simulator.market.ticks import ADL, INSURANCE_FUND, NOT_A_FILL, RPI
from tests.fanout.simulator.support import LISTING, USDM, no_snapshot, trade, used_weight

MINUTE_MS = 60_000
KEPT = 2_000
TRADED = (LISTING, TABLE["XAUUSDT"], TABLE["币安人生USDT"])


@pytest.fixture
def history() -> History:
    return History(listed(TRADED, UNTRADED), KEPT)


@pytest.fixture
def rest(history: History) -> Rest:
    limit = RateLimit(weight_limit=2_400, tolerated_429s=10)
    return USDM.rest(
        Venue(
            listings=listed(TRADED, UNTRADED),
            quirks={},
            history=history,
            limit=limit,
            snapshot=no_snapshot,
        )
    )


def get(rest: Rest, target: str, now_ms: int = 0) -> Response:
    return rest.respond(Request("GET", target), now_ms)


def body(rest: Rest, target: str) -> Any:
    return json.loads(get(rest, target).body)


def symbols(rest: Rest) -> dict[str, Any]:
    return {row["symbol"]: row for row in body(rest, "/fapi/v1/exchangeInfo")["symbols"]}


def test_ping_answers_with_an_empty_object(rest: Rest) -> None:
    assert get(rest, "/fapi/v1/ping").body == b"{}"


def test_time_answers_with_the_exchanges_clock(rest: Rest) -> None:
    assert get(rest, "/fapi/v1/time", 1_499_827_319_559).body == b'{"serverTime":1499827319559}'


def test_a_trade_is_spelled_as_documented(rest: Rest, history: History) -> None:
    history.add(trade(5, price="4.00", quantity="12.000", time_ms=9, buyer_is_maker=True))
    assert body(rest, "/fapi/v1/trades?symbol=BTCUSDT") == [
        {
            "id": 5,
            "price": "4.00",
            "qty": "12.000",
            "quoteQty": "48.00000",
            "time": 9,
            "isBuyerMaker": True,
            "isRPITrade": False,
        }
    ]


def test_an_rpi_trade_is_marked(rest: Rest, history: History) -> None:
    history.add(trade(kind=RPI))
    assert body(rest, "/fapi/v1/trades?symbol=BTCUSDT")[0]["isRPITrade"] is True


def test_rows_that_are_no_fills_leave_holes_in_the_ids(rest: Rest, history: History) -> None:
    history.add(trade(1))
    history.add(trade(2, kind=NOT_A_FILL, price="0", quantity="0"))
    history.add(trade(3, kind=INSURANCE_FUND))
    history.add(trade(4, kind=ADL))
    history.add(trade(5))
    assert [row["id"] for row in body(rest, "/fapi/v1/trades?symbol=BTCUSDT")] == [1, 5]


def test_the_newest_500_come_by_default_oldest_first(rest: Rest, history: History) -> None:
    for trade_id in range(600):
        history.add(trade(trade_id))
    ids = [row["id"] for row in body(rest, "/fapi/v1/trades?symbol=BTCUSDT")]
    assert ids == list(range(100, 600))


def test_no_more_than_1000_rows_come_in_an_answer(rest: Rest, history: History) -> None:
    for trade_id in range(1_050):
        history.add(trade(trade_id))
    ids = [row["id"] for row in body(rest, "/fapi/v1/trades?symbol=BTCUSDT&limit=1000")]
    assert ids == list(range(50, 1_050))


def test_a_listed_symbol_that_does_not_trade_has_no_rows(rest: Rest) -> None:
    assert body(rest, "/fapi/v1/trades?symbol=BTCUSDT_261225") == []


def test_a_chinese_symbol_is_found_percent_encoded(rest: Rest) -> None:
    target = "/fapi/v1/trades?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"
    assert get(rest, target).status == 200


@pytest.mark.parametrize("symbol", ["NOSUCHUSDT", "btcusdt", "BTCUSDT%00", "%FF"])
def test_an_unknown_symbol_is_refused(rest: Rest, symbol: str) -> None:
    response = get(rest, f"/fapi/v1/trades?symbol={symbol}")
    assert response.status == 400
    assert response.body == b'{"code":-1121,"msg":"Invalid symbol."}'


@pytest.mark.parametrize("query", ["", "?symbol=", "?limit=5", "?symbol"])
def test_a_missing_symbol_is_refused(rest: Rest, query: str) -> None:
    response = get(rest, f"/fapi/v1/trades{query}")
    assert response.status == 400
    assert json.loads(response.body)["code"] == -1102


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "ten", "", "5.0", "٣", "9" * 5000])
def test_a_limit_out_of_range_is_refused(rest: Rest, limit: str) -> None:
    response = get(rest, f"/fapi/v1/trades?symbol=BTCUSDT&limit={limit}")
    assert response.status == 400
    message = "Data sent for parameter 'limit' is not valid."
    assert json.loads(response.body) == {"code": -1130, "msg": message}


@pytest.mark.parametrize("target", ["/", "/fapi/v1/depths", "/fapi/v1/ping/", "", "*"])
def test_an_unknown_path_is_not_found(rest: Rest, target: str) -> None:
    assert get(rest, target).status == 404


def test_only_get_is_served(rest: Rest) -> None:
    assert rest.respond(Request("POST", "/fapi/v1/ping"), 0).status == 404


def test_weights_add_up_over_all_endpoints(rest: Rest) -> None:
    targets = ["ping", "time", "exchangeInfo", "trades?symbol=BTCUSDT", "nothing"]
    used = [used_weight(get(rest, f"/fapi/v1/{target}")) for target in targets]
    assert used == [1, 2, 3, 8, 8]


def test_a_rejected_request_costs_its_weight(rest: Rest) -> None:
    assert used_weight(get(rest, "/fapi/v1/trades?symbol=NOSUCH")) == 5


def test_the_weight_starts_again_on_the_clock_minute_and_not_after_sixty_seconds(
    rest: Rest,
) -> None:
    assert used_weight(get(rest, "/fapi/v1/ping", MINUTE_MS - 2)) == 1
    assert used_weight(get(rest, "/fapi/v1/ping", MINUTE_MS - 1)) == 2
    assert used_weight(get(rest, "/fapi/v1/ping", MINUTE_MS)) == 1


def test_exchange_info_lists_what_trades_and_rows_that_do_not(rest: Rest) -> None:
    listings = symbols(rest)
    assert next(iter(listings)) == "BTCUSDT"
    assert listings["XAUUSDT"]["contractType"] == "TRADIFI_PERPETUAL"
    assert listings["BTCUSDT_261225"]["contractType"] == "CURRENT_QUARTER"
    assert listings["BTCUSDT_261225"]["pair"] == "BTCUSDT"
    assert listings["LUNAUSDT"]["status"] == "SETTLING"
    assert listings["币安人生USDT"]["status"] == "TRADING"


def test_exchange_info_lists_no_symbol_twice() -> None:
    board = listed(tuple(TABLE.values()), UNTRADED)
    assert [listing.symbol for listing in board.values()] == list(board)


def test_the_price_precision_is_not_the_tick_size(rest: Rest) -> None:
    bitcoin = symbols(rest)["BTCUSDT"]
    filters = {row["filterType"]: row for row in bitcoin["filters"]}
    assert bitcoin["pricePrecision"] == 2
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert bitcoin["quantityPrecision"] == 3


def test_a_symbol_may_have_seven_decimals_and_whole_quantities() -> None:
    pepe = TABLE["1000PEPEUSDT"]
    assert (pepe.price_precision, pepe.quantity_precision) == (7, 0)
