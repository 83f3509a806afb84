"""REST on demand: errors, late answers, answers that break off; and what it does by itself."""

from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock

from fanout.errors import UsageError
from fanout.simulator import Simulator
from fanout.simulator.connection.http import Response
from fanout.simulator.faults import MAX_STANDING, Drop, Http, Spend
from fanout.simulator.faults.rest import RestFaults
from tests.fanout.simulator.support import (
    TRADES,
    USDM,
    MemoryExchange,
    answer_to_upgrade,
    capture_of,
    connect,
    data,
    ids,
    open_tcp,
    receive_all,
    rest,
    start,
    upgrade,
)

PING = "/fapi/v1/ping"
RECENT = "/fapi/v1/trades?symbol=BTCUSDT"
MINUTE_S = 60.0


async def statuses(simulator: Simulator, *targets: str) -> list[int]:
    async with rest(simulator) as http:
        return [(await http.request(target)).status for target in targets]


@pytest.mark.parametrize("status", [400, 401, 403, 408, 418, 429, 451, 500, 502, 503, 504, 520])
async def test_the_next_request_is_answered_with_an_error_and_the_one_after_is_not(
    simulator: Simulator, status: int
) -> None:
    simulator.faults.inject(Http(status))
    assert await statuses(simulator, PING, PING) == [status, 200]
    assert simulator.faults.standing == ()


async def test_a_429_has_a_retry_after_only_if_the_fault_gives_one(simulator: Simulator) -> None:
    simulator.faults.inject(Http(429))
    simulator.faults.inject(Http(429, retry_after_s=7))
    async with rest(simulator) as http:
        without, with_, after = [await http.request(PING) for _ in range(3)]
    assert "retry-after" not in without.headers
    assert with_.headers["retry-after"] == "7"
    assert "retry-after" not in after.headers
    assert without.body == {
        "code": -1003,
        "msg": "Too many requests; current limit is 2400 requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
    }


async def test_a_418_has_the_end_of_the_ban(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(Http(418, banned_for_s=300, requests=2))
    await trio.sleep(10)
    for _ in range(2):
        answer = await venue.get(PING)
        assert answer.status == 418
        assert answer.body == {
            "code": -1003,
            "msg": "Way too many requests; IP banned until 300000. "
            "Please use the websocket for live updates to avoid bans.",
        }
    assert (await venue.get(PING)).status == 200


async def test_a_restricted_location_gets_the_venues_message(simulator: Simulator) -> None:
    simulator.faults.inject(Http(451))
    async with rest(simulator) as http:
        assert "restricted location" in (await http.request(PING)).body["msg"]


async def test_a_firewall_and_a_gateway_answer_in_html(simulator: Simulator) -> None:
    for status in (403, 502, 504):
        simulator.faults.inject(Http(status))
        async with rest(simulator) as http:
            answer = await http.request(PING)
        assert answer.headers["content-type"] == "text/html"
        assert str(status).encode() in answer.body


async def test_an_error_may_last_for_so_many_requests_or_until_it_is_cleared(
    simulator: Simulator,
) -> None:
    simulator.faults.inject(Http(503, requests=3))
    assert await statuses(simulator, *[PING] * 4) == [503, 503, 503, 200]
    simulator.faults.inject(Http(503, requests=None))
    assert await statuses(simulator, *[PING] * 20) == [503] * 20
    assert simulator.faults.standing == (Http(503, requests=None),)
    simulator.faults.clear()
    assert await statuses(simulator, PING) == [200]


async def test_an_error_may_concern_one_path(simulator: Simulator) -> None:
    simulator.faults.inject(Http(500, path="/fapi/v1/trades", requests=None))
    assert await statuses(simulator, PING, RECENT, PING, RECENT) == [200, 500, 200, 500]


async def test_rest_faults_act_one_after_the_other(simulator: Simulator) -> None:
    simulator.faults.inject(Http(500))
    simulator.faults.inject(Http(429, requests=2))
    assert await statuses(simulator, *[PING] * 4) == [500, 429, 429, 200]


async def test_standing_rest_faults_are_limited(simulator: Simulator) -> None:
    for _ in range(MAX_STANDING):
        simulator.faults.inject(Http(503, requests=None))
    with pytest.raises(UsageError, match=r"1,000 faults of REST stand already"):
        simulator.faults.inject(Http(503))


async def test_a_spoiled_answer_costs_its_weight(simulator: Simulator) -> None:
    simulator.faults.inject(Http(503))
    async with rest(simulator) as http:
        used = [int((await http.request(RECENT)).headers["x-mbx-used-weight-1m"]) for _ in range(2)]
    assert used[1] - used[0] in (5, 5 - used[0])  # a minute may have begun in between


async def test_a_slow_answer_is_correct_but_late(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(Http(delay_s=90))
    assert (await venue.get(PING)).status == 200
    assert trio.current_time() == pytest.approx(90)
    venue.faults.inject(Http(503, delay_s=5))
    assert (await venue.get(PING)).status == 503
    assert trio.current_time() == pytest.approx(95)


async def test_a_slow_answer_delays_no_other_client(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(Http(delay_s=90))
    nursery.start_soon(venue.get, PING)
    await trio.testing.wait_all_tasks_blocked()
    assert (await venue.get(PING)).status == 200
    assert trio.current_time() == pytest.approx(0)


@pytest.mark.parametrize("sent_bytes", [0, 1, 100])
async def test_an_answer_may_break_off(simulator: Simulator, sent_bytes: int) -> None:
    simulator.faults.inject(Http(path="/fapi/v1/exchangeInfo", sent_bytes=sent_bytes))
    async with await open_tcp(simulator) as stream:
        await stream.send_all(b"GET /fapi/v1/exchangeInfo HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await receive_all(stream)).partition(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    assert len(body) == sent_bytes < int(length.split()[1])
    assert await statuses(simulator, "/fapi/v1/exchangeInfo") == [200]


async def test_an_answer_may_have_fewer_rows_or_none(played: Simulator) -> None:
    async def found() -> list[int]:
        return [row["id"] for row in (await historical(played, "&fromId=700&limit=500")).body]

    for rows in (3, 0, 10_000):
        played.faults.inject(Http(rows=rows))
    assert await found() == [700, 701, 702]
    assert await found() == []
    assert await found() == await found() == list(range(700, 1_200))


async def test_an_answer_without_rows_cannot_have_fewer(simulator: Simulator) -> None:
    simulator.faults.inject(Http(rows=0))
    async with rest(simulator) as http:
        assert "serverTime" in (await http.request("/fapi/v1/time")).body


async def test_an_answer_that_is_not_a_list_is_not_parsed(simulator: Simulator) -> None:
    simulator.faults.inject(Http(body="[oops", rows=1))
    async with await open_tcp(simulator) as stream:
        await stream.send_all(f"GET {RECENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await stream.send_eof()
        assert (await receive_all(stream)).endswith(b"\r\n\r\n[oops")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", "application/json;charset=UTF-8"),
        ('[{"id":"x"}]', "application/json;charset=UTF-8"),
        ("<html>Log in to the airport's network</html>", "text/html"),
    ],
)
async def test_an_answer_may_have_another_body(
    simulator: Simulator, body: str, content_type: str
) -> None:
    simulator.faults.inject(Http(body=body))
    async with await open_tcp(simulator) as stream:
        await stream.send_all(f"GET {RECENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await stream.send_eof()
        head, _, said = (await receive_all(stream)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"Content-Type: {content_type}".encode() in head
    assert said == body.encode()


async def test_a_client_notices_that_an_answer_broke_off(simulator: Simulator) -> None:
    simulator.faults.inject(Http(sent_bytes=1))
    async with rest(simulator) as http:
        with pytest.raises(h11.RemoteProtocolError):
            await http.request(PING)


async def test_handshakes_fail_by_path_while_rest_does_not(simulator: Simulator) -> None:
    simulator.faults.inject(Http(503, path="/public", requests=2))
    for _ in range(2):
        assert await answer_to_upgrade(simulator, TRADES) == b"HTTP/1.1 503 Service Unavailable"
        assert await statuses(simulator, PING) == [200]
    async with connect(simulator, TRADES) as client:
        await data(client)


async def test_a_handshake_may_be_late_or_never_answered(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(Http(path="/public", delay_s=30))
    await venue.client()
    assert trio.current_time() == pytest.approx(30)
    venue.faults.inject(Http(path="/public", sent_bytes=0))
    stream = venue.connect()
    await stream.send_all(upgrade(TRADES))
    assert await receive_all(stream) == b""
    await venue.client()


async def test_a_failed_handshake_has_a_retry_after(simulator: Simulator) -> None:
    simulator.faults.inject(Http(429, path="/public", retry_after_s=9))
    async with await open_tcp(simulator) as stream:
        await stream.send_all(upgrade(TRADES))
        answer = await receive_all(stream)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 9\r\n" in answer


async def test_open_connections_are_not_affected_by_rest_faults(simulator: Simulator) -> None:
    simulator.faults.inject(Http(418, requests=None))
    async with connect(simulator, TRADES) as client:
        await data(client)
        assert await statuses(simulator, PING) == [418]
        await data(client)
        simulator.faults.inject(Drop())


async def test_over_the_weight_limit_a_429_comes_then_a_418_and_the_next_minute_is_served(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, weight_limit=12, tolerated_429s=2)
    answers = [await venue.get(RECENT) for _ in range(6)]
    assert [each.status for each in answers] == [200, 200, 429, 429, 418, 418]
    assert [each.headers["x-mbx-used-weight-1m"] for each in answers] == [
        *("5", "10", "15", "20", "25", "30")
    ]
    assert "current limit is 12 requests per minute" in answers[2].body["msg"]
    assert "banned until 120000." in answers[5].body["msg"]
    await trio.sleep(MINUTE_S)
    assert (await venue.get(PING)).status == 418
    await trio.sleep(MINUTE_S)
    assert (await venue.get(PING)).status == 200


async def test_others_at_our_address_may_use_up_the_weight_of_a_minute(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(Spend(2_394))
    answers = [await venue.get(RECENT) for _ in range(2)]
    assert [each.status for each in answers] == [200, 429]
    assert [each.headers["x-mbx-used-weight-1m"] for each in answers] == ["2399", "2404"]
    await trio.sleep(MINUTE_S)
    assert (await venue.get(RECENT)).headers["x-mbx-used-weight-1m"] == "5"


async def test_the_listing_has_the_configured_weight_limit(nursery: trio.Nursery) -> None:
    info = (await MemoryExchange(nursery, weight_limit=777).get("/fapi/v1/exchangeInfo")).body
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 777,
    }


@pytest.fixture
async def played(nursery: trio.Nursery, tmp_path: Path) -> Simulator:
    """The trades 1 to 1,200 have happened."""
    capture = capture_of(tmp_path / "capture", 1_200)
    simulator = await start(nursery, captures=(capture,), speed=None, kept_trades=1_000)
    async with connect(simulator, TRADES) as client:
        await ids(client, 1_200)
    return simulator


async def historical(simulator: Simulator, query: str, **options: Any) -> Any:
    async with rest(simulator) as http:
        target = f"/fapi/v1/historicalTrades?symbol=BTCUSDT{query}"
        return await http.request(target, **({"api_key": "abc123"} | options))


async def test_missed_trades_can_be_fetched_by_id(played: Simulator) -> None:
    rows = (await historical(played, "&fromId=700&limit=500")).body
    assert [row["id"] for row in rows] == list(range(700, 1_200))
    assert rows[0]["price"] == "83680.00"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("&fromId=1191&limit=5", range(1_191, 1_196)),
        ("&fromId=1199", range(1_199, 1_201)),
        ("&fromId=1201", range(0)),
        ("&fromId=300", range(300, 400)),
        ("&fromId=1&limit=3", range(201, 204)),  # what is not kept cannot be had
        ("", range(1_101, 1_201)),
        ("&limit=2", range(1_199, 1_201)),
    ],
)
async def test_historical_trades_come_in_order_as_far_as_they_are_kept(
    played: Simulator, query: str, ids: range
) -> None:
    rows = (await historical(played, query)).body
    assert [row["id"] for row in rows] == list(ids)


@pytest.mark.parametrize("api_key", [None, "", "no key!"])
async def test_historical_trades_need_a_key(played: Simulator, api_key: str | None) -> None:
    answer = await historical(played, "", api_key=api_key)
    assert (answer.status, answer.body["code"]) == (401, -2014)
    assert int(answer.headers["x-mbx-used-weight-1m"]) >= 20


@pytest.mark.parametrize("query", ["&limit=501", "&limit=0", "&fromId=-1", "&fromId=x"])
async def test_historical_trades_refuse_invalid_parameters(played: Simulator, query: str) -> None:
    answer = await historical(played, query)
    assert (answer.status, answer.body["code"]) == (400, -1130)


async def test_the_key_may_be_rejected(played: Simulator) -> None:
    played.faults.inject(Http(401, path="/fapi/v1/historicalTrades"))
    answer = await historical(played, "")
    assert (answer.status, answer.body["code"]) == (401, -2015)


async def test_aggregates_fetched_by_id_equal_those_of_the_stream(
    simulator: Simulator,
) -> None:
    async with connect(simulator, "/market/stream?streams=btcusdt@aggTrade") as client:
        told = [(await data(client))["data"] for _ in range(50)]
    async with rest(simulator) as http:
        target = f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={told[0]['a']}&limit=50"
        rows = (await http.request(target)).body
    for row in told:
        for name in ("e", "E", "s", "st"):
            del row[name]
    assert rows == told


async def test_aggregates_can_be_fetched_by_time(simulator: Simulator) -> None:
    async with rest(simulator) as http:

        async def rows(query: str) -> Any:
            return (await http.request(f"/fapi/v1/aggTrades?symbol=BTCUSDT{query}")).body

        newest = await rows("&limit=1000")
        start_ms, end_ms = newest[100]["T"], newest[-100]["T"]
        within = [row for row in newest if start_ms <= row["T"] <= end_ms]
        assert await rows(f"&startTime={start_ms}&endTime={end_ms}&limit=1000") == within
        assert await rows(f"&startTime={start_ms}&limit=7") == within[:7]
        assert await rows(f"&endTime={end_ms}&limit=7") == within[-7:]


@pytest.mark.parametrize("query", ["&startTime=1", "&fromId=1"])
async def test_aggregates_that_are_too_old_are_refused(simulator: Simulator, query: str) -> None:
    async with rest(simulator) as http:
        answer = await http.request(f"/fapi/v1/aggTrades?symbol=BTCUSDT{query}")
    message = "Search window is restricted to recent 2 days only."
    assert (answer.status, answer.body) == (400, {"code": -4166, "msg": message})


async def test_the_weights_are_the_documented_ones(nursery: trio.Nursery) -> None:
    venue = MemoryExchange(nursery)
    weights = {"time": 1, "ping": 1, "exchangeInfo": 1, "trades": 5}
    weights |= {"historicalTrades": 20, "aggTrades": 20, "nothing": 0}
    used = 0
    for name, weight in weights.items():
        answer = await venue.get(f"/fapi/v1/{name}?symbol=BTCUSDT")
        used += weight
        assert int(answer.headers["x-mbx-used-weight-1m"]) == used


async def test_a_body_too_long_is_refused(simulator: Simulator) -> None:
    async with await open_tcp(simulator) as stream:
        head = f"POST {PING} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        await stream.send_all(head.encode() + b"x" * 100_000)
        assert (await receive_all(stream)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("body", "fewer"),
    [
        (b'{"code":0,"result":{"list":[1,2,3]}}', b'{"code":0,"result":{"list":[1,2]}}'),
        (b'{"code":"0","data":[1,2,3]}', b'{"code":"0","data":[1,2]}'),
        (b'{"result":{"trades":[1,2,3],"more":true}}', b'{"result":{"trades":[1,2],"more":true}}'),
        (b'{"symbols":[1,2,3]}', b'{"symbols":[1,2,3]}'),
        (b'{"result":"ok"}', b'{"result":"ok"}'),
        (b"<html>", b"<html>"),
    ],
)
def test_rows_of_an_answer_are_found_inside_the_usual_objects(body: bytes, fewer: bytes) -> None:
    faults = RestFaults(USDM, 1)
    faults.begin(Http(rows=2, path="/"), 0)
    assert faults.spoil("/", Response(200, body)).body == fewer
