"""The control endpoint, as curl sees it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fanout.simulator import Simulator
from fanout.simulator.faults import FAULTS, Http, Skip
from tests.fanout.simulator.support import (
    TRADES,
    ask,
    capture_of,
    closed_after,
    connect,
    data,
    hears_nothing,
    ids,
    rest,
    start,
)
from tests.stand.callers import RestAnswer


class Control:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def post(self, name: str, **fields: Any) -> RestAnswer:
        """The fields as a JSON body."""
        body = json.dumps(fields).encode() if fields else b""
        answer: RestAnswer = await self._client.request(f"/control/{name}", "POST", body=body)
        return answer

    async def get(self, target: str = "") -> Any:
        return (await self._client.request(f"/control{target}")).body


@asynccontextmanager
async def control(simulator: Simulator) -> AsyncIterator[Control]:
    async with rest(simulator) as client:
        yield Control(client)


async def test_fields_come_in_the_query_or_in_the_body(simulator: Simulator) -> None:
    async with control(simulator) as http:
        assert (await http.post("skip?symbol=BTCUSDT&count=1000000")).status == 200
        assert (await http.post("skip", symbol="BTCUSDT", count=1_000_000)).status == 200
        assert (await http.post("skip?symbol=BTCUSDT", count=1_000_000)).status == 200
    assert simulator.faults.standing == (Skip("BTCUSDT", 1_000_000),)


async def test_a_fault_is_answered_with_all_its_fields(simulator: Simulator) -> None:
    async with control(simulator) as http:
        assert (await http.post("stall?for_s=0.5&which=oldest")).body == {
            "fault": "stall",
            "for_s": 0.5,
            "route": None,
            "which": "oldest",
        }


async def test_a_connection_is_dropped_from_outside(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client, control(simulator) as http:
        await data(client)
        await http.post("drop?code=1012&reason=restart")
        assert await closed_after(client) == ([], 1012, "restart")


async def test_rest_faults_never_affect_the_control_endpoint(simulator: Simulator) -> None:
    async with control(simulator) as http, rest(simulator) as client:
        await http.post("http", status=503, requests=None, path="/")
        assert (await client.request("/fapi/v1/ping")).status == 503
        answer = await http.post("clear")
        assert (answer.status, answer.body) == (200, {})
        assert "x-mbx-used-weight-1m" not in answer.headers
        assert (await client.request("/fapi/v1/ping")).status == 200


async def test_it_lists_the_state_and_all_faults(simulator: Simulator) -> None:
    simulator.faults.inject(Http(418))
    async with connect(simulator, TRADES) as client, control(simulator) as http:
        await data(client)
        state = await http.get()
    assert state["connections"] == 1
    assert [(each["fault"], each["status"]) for each in state["standing"]] == [("http", 418)]
    assert list(state["faults"]) == list(FAULTS)
    assert all(state["faults"].values())
    assert "POST /control/clear" in state["usage"]


@pytest.mark.parametrize("name", FAULTS)
async def test_it_describes_each_fault_and_the_values_of_its_fields(
    simulator: Simulator, name: str
) -> None:
    async with control(simulator) as http:
        manual = await http.get(f"/{name}")
    assert manual["does"]
    assert list(manual["fields"]) == list(FAULTS[name].__struct_fields__)


async def test_a_held_market_is_released_from_outside(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    capture = capture_of(tmp_path / "capture", 5)
    simulator = await start(nursery, captures=(capture,), speed=None, hold=True)
    async with connect(simulator, TRADES) as client, control(simulator) as http:
        assert await hears_nothing(client)
        await http.post("release")
        assert await ids(client, 5) == [1, 2, 3, 4, 5]


async def test_ids_are_accounted_for_from_outside(nursery: trio.Nursery, tmp_path: Path) -> None:
    capture = capture_of(tmp_path / "capture", 5)
    simulator = await start(nursery, captures=(capture,), speed=None, hold=True)
    async with connect(simulator, TRADES) as client, control(simulator) as http:
        await ask(client, "LIST_SUBSCRIPTIONS")
        await http.post("insert?symbol=BTCUSDT&count=3")
        await http.post("skip?symbol=BTCUSDT&count=2")
        await http.post("release")
        assert await ids(client, 6) == [1, 2, 3, 6, 7, 8]
        issued = "/issued?symbol=BTCUSDT"
        assert await http.get(issued) == [[1, 3, "NA"], [4, 8, "MARKET"]]
        assert await http.get(f"{issued}&after=2") == [[3, 3, "NA"], [4, 8, "MARKET"]]
        assert await http.get("/withheld?symbol=BTCUSDT") == [[4, 5, "MARKET"]]
        assert await http.get("/withheld?symbol=BTCUSDT&stream=aggTrade") == []


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("skip", {"count": 0}, "count is 0"),
        ("skip", {"symbol": "NOSUCHUSDT"}, "no symbol NOSUCHUSDT; choose from BTCUSDT, "),
        ("clock", {}, "give offset_ms"),
        ("drop", {"fault": "skip"}, "no field 'fault'"),
    ],
)
async def test_nonsense_is_refused(
    simulator: Simulator, name: str, fields: dict[str, Any], says: str
) -> None:
    async with control(simulator) as http:
        answer = await http.post(name, **fields)
    assert answer.status == 400
    assert says in answer.body["error"]


@pytest.mark.parametrize("body", [b"no json", b"[1]", b'"skip"', b"\xff", b"[" * 10_000])
async def test_a_body_that_is_no_object_is_refused(simulator: Simulator, body: bytes) -> None:
    async with rest(simulator) as http:
        answer = await http.request("/control/skip", "POST", body=body)
        assert answer.status == 400
        assert answer.body["error"]
        assert (await http.request("/control")).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/control/issued",
        "/control/issued?symbol=BTCUSDT&after=x",
        "/control/issued?symbol=BTCUSDT&stream=depth",
        "/control/issued?symbol=BTCUSDT&what=else",
        "/control/issued?symbol=NOSUCHUSDT",
        "/control/withheld?symbol=LUNAUSDT",
    ],
)
async def test_an_invalid_query_is_refused(simulator: Simulator, target: str) -> None:
    async with rest(simulator) as http:
        assert (await http.request(target)).status == 400


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/control/dorp"),
        ("POST", "/control/dorp"),
        ("POST", "/control/skip/it"),
        ("GET", "/controls"),
        ("DELETE", "/control/skip"),
        ("GET", "/control/clear"),
        ("POST", "/control/issued"),
        ("POST", "/control"),
    ],
)
async def test_an_unknown_request_is_not_found(
    simulator: Simulator, method: str, target: str
) -> None:
    async with rest(simulator) as http:
        answer = await http.request(target, method)
    assert answer.status == 404
    assert answer.body["error"] == f"{method} {target} is unknown; GET /control lists all requests"


async def test_a_query_for_forgotten_ids_is_refused(nursery: trio.Nursery, tmp_path: Path) -> None:
    capture = capture_of(tmp_path / "capture", 20)
    simulator = await start(nursery, captures=(capture,), speed=None, kept_ids=5)
    async with connect(simulator, TRADES) as client, rest(simulator) as http:
        await ids(client, 20)
        answer = await http.request("/control/issued?symbol=BTCUSDT&after=3")
    assert answer.status == 400
    assert "forgotten" in answer.body["error"]
