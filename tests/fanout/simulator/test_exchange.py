"""An exchange over loopback sockets: what clients that behave get to see."""

from itertools import pairwise

import pytest
import trio

from fanout.simulator import Simulator
from fanout.simulator.dialects.binance_usdm.table import TABLE
from tests.fanout.simulator.support import (
    TRADES,
    ask,
    connect,
    data,
    hears_nothing,
    rest,
    start,
)

CHINESE = "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9F"  # 币安人生


@pytest.mark.parametrize("route", ["/public", ""])
async def test_trades_come_raw_on_ws_and_in_an_envelope_on_stream(
    simulator: Simulator, route: str
) -> None:
    async with connect(simulator, f"{route}/ws/btcusdt@trade") as raw:
        assert (await data(raw))["e"] == "trade"
    async with connect(simulator, f"{route}/stream?streams=btcusdt@trade") as combined:
        message = await data(combined)
        assert message["stream"] == "btcusdt@trade"
        assert message["data"]["s"] == "BTCUSDT"


async def test_a_subscription_is_acked_first_and_then_served(simulator: Simulator) -> None:
    async with connect(simulator, "/public/ws") as client:
        await client.send_message('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":5}')
        assert await client.get_message() == '{"result":null,"id":5}'
        assert (await data(client))["s"] == "BTCUSDT"


async def test_only_unsubscribed_streams_fall_silent(
    simulator: Simulator,
) -> None:
    async with connect(simulator, f"{TRADES}/{CHINESE}usdt@trade") as client:
        await ask(client, "UNSUBSCRIBE", "btcusdt@trade")
        in_a_row = 0
        while in_a_row < 100:  # of twenty trades, nineteen were the other symbol's
            other = (await data(client))["data"]["s"] == "BTCUSDT"
            in_a_row = 0 if other else in_a_row + 1


async def test_the_envelope_changes_when_asked(simulator: Simulator) -> None:
    async with connect(simulator, "/public/ws/btcusdt@trade") as client:
        await ask(client, "SET_PROPERTY", "combined", True)
        while "stream" not in await data(client):
            pass


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/market/ws", "btcusdt@trade"),
        ("/private/ws", "btcusdt@trade"),
        ("/public/ws", "btcusdt@aggTrade"),
        ("/public/ws", "BTCUSDT@trade"),
        ("/public/ws", "nosuchusdt@trade"),
        ("/public/ws", "btcusdt@depth@250ms"),
    ],
)
async def test_the_wrong_route_or_name_is_acked_listed_and_silent(
    simulator: Simulator, target: str, name: str
) -> None:
    async with connect(simulator, TRADES) as playing:
        await playing.get_message()
        async with connect(simulator, target) as client:
            assert await ask(client, "SUBSCRIBE", name) == {"result": None, "id": 1}
            for _ in range(50):
                await playing.get_message()
            assert (await ask(client, "LIST_SUBSCRIPTIONS"))["result"] == [name]
            assert await hears_nothing(client)


async def test_aggregates_come_on_the_market_route(simulator: Simulator) -> None:
    async with connect(simulator, "/market/stream?streams=btcusdt@aggTrade") as client:
        found = [(await data(client))["data"] for _ in range(50)]
    assert all(row["E"] >= row["T"] + 100 for row in found)
    assert all(before["l"] < after["f"] for before, after in pairwise(found))


async def test_a_chinese_symbol_works_end_to_end(simulator: Simulator) -> None:
    async with connect(simulator, f"/public/ws/{CHINESE}usdt@trade") as client:
        assert (await data(client))["s"] == "币安人生USDT"
    async with connect(simulator, "/public/ws") as client:
        await ask(client, "SUBSCRIBE", "币安人生usdt@trade")
        assert (await data(client))["s"] == "币安人生USDT"
    async with rest(simulator) as http:
        answer = await http.request(f"/fapi/v1/trades?symbol={CHINESE}USDT&limit=5")
        assert len(answer.body) == 5


async def test_a_client_that_closes_gets_its_close_back(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client:
        await client.get_message()
        await client.aclose(1000, "done")
    assert client.closed is not None
    assert client.closed.code == 1000


async def test_rest_answers_one_request_after_the_other_on_a_connection(
    simulator: Simulator,
) -> None:
    async with rest(simulator) as http:
        assert (await http.request("/fapi/v1/ping")).body == {}
        assert (await http.request("/fapi/v1/time")).body["serverTime"] > 1_700_000_000_000
        assert (await http.request("/nowhere")).status == 404
        answer = await http.request("/fapi/v1/trades?symbol=NOSUCH")
        assert (answer.status, answer.body["code"]) == (400, -1121)
        assert (await http.request("/fapi/v1/ping", "POST")).status == 404
        assert (await http.request("/fapi/v1/ping", "HEAD")).status == 404
        assert int((await http.request("/fapi/v1/ping")).headers["x-mbx-used-weight-1m"]) >= 1


async def test_rest_has_rows_before_anybody_subscribes_and_none_is_na(
    simulator: Simulator,
) -> None:
    async with rest(simulator) as http:
        rows = (await http.request("/fapi/v1/trades?symbol=BTCUSDT&limit=1000")).body
    assert len(rows) > 500
    assert all(row["price"] != "0" for row in rows)
    assert rows[0]["id"] > 2**32


async def test_rest_rows_are_the_fills_that_were_streamed(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client, rest(simulator) as http:
        streamed = [(await data(client))["data"] for _ in range(400)]
        target = f"/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId={streamed[0]['t']}&limit=500"
        rows = (await http.request(target, api_key="abc123")).body
    fills = [(row["t"], row["p"]) for row in streamed if row["X"] in ("MARKET", "RPI")]
    assert len(fills) > 350
    assert [(row["id"], row["price"]) for row in rows][: len(fills)] == fills


async def test_ids_on_the_stream_have_no_hole(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client:
        ids = [(await data(client))["data"]["t"] for _ in range(2_000)]
    assert ids == list(range(ids[0], ids[0] + 2_000))


async def test_by_default_every_symbol_of_the_table_is_listed(nursery: trio.Nursery) -> None:
    simulator = await start(nursery)
    async with rest(simulator) as http:
        listed = (await http.request("/fapi/v1/exchangeInfo")).body["symbols"]
    assert {row["symbol"] for row in listed} >= TABLE.keys()
