"""Clients that break the rules: refused, closed, and of no effect on anybody else.

How the exchange itself misbehaves is in the tests of `connections`, `stream_faults`, `rest_faults`
and `engine`.
"""

import json
import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import ConnectionClosed

from fanout.simulator import Simulator, SimulatorConfig
from fanout.simulator.exchange import HEAD_S, Exchange
from fanout.simulator.market.clock import Clock
from tests.fanout.simulator.support import (
    TRADES,
    ListedMarket,
    answer_to_upgrade,
    closed_after,
    connect,
    open_tcp,
    receive_all,
    rest,
)
from tests.stand.callers import RawClient


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"G",
        b"GET /fapi/v1/ping HTTP/1.1\r\nHost:",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /fapi/v1/ping HTTP/1.1\r\n\r\n",
        b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"POST /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"A" * 50_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000,
    ],
)
async def test_garbage_ends_its_own_connection_and_nothing_else(
    simulator: Simulator, garbage: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(5):
        async with await open_tcp(simulator) as stream:
            await stream.send_all(garbage)
            await stream.send_eof()
            answer = await receive_all(stream)
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
        async with rest(simulator) as http:
            assert (await http.request("/fapi/v1/ping")).status == 200
    assert capfd.readouterr().err == ""


async def test_a_client_that_resets_its_connection_affects_no_other(
    simulator: Simulator, capfd: pytest.CaptureFixture[str]
) -> None:
    async with connect(simulator, TRADES) as playing:
        for target in ("/fapi/v1/ping", TRADES):
            stream = await open_tcp(simulator)
            await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: web".encode())
            _reset(stream)
        stream = await open_tcp(simulator)
        await RawClient(stream).shake_hands(TRADES)
        _reset(stream)
        for _ in range(200):
            await playing.get_message()
    assert capfd.readouterr().err == ""


def _reset(stream: Any) -> None:
    linger_for_no_time = b"\x01\0\0\0\0\0\0\0"
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
    stream.socket.close()


async def test_a_connection_whose_head_never_ends_is_closed(autojump_clock: MockClock) -> None:
    exchange = Exchange(ListedMarket(), Clock(0), SimulatorConfig())
    client, server = memory_stream_pair()

    async def drip() -> None:
        while True:
            await client.send_all(b"G")
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        await exchange.serve(server)
        assert trio.current_time() == pytest.approx(HEAD_S)
        nursery.cancel_scope.cancel()


async def test_an_idle_rest_connection_is_closed(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(ListedMarket(), Clock(0), SimulatorConfig())
    client, server = memory_stream_pair()
    await client.send_all(b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n")
    await exchange.serve(server)
    assert trio.current_time() == pytest.approx(60)


async def test_a_url_at_the_measured_length_connects_and_a_longer_one_gets_a_414(
    simulator: Simulator,
) -> None:
    def names(length: int) -> str:
        return ("/public/stream?streams=" + "btcusdt@trade/" * 2_000)[:length]

    assert b" 101 " in await answer_to_upgrade(simulator, names(16_338))
    assert b" 414 " in await answer_to_upgrade(simulator, names(16_886))


@pytest.mark.parametrize("target", ["/ws/", "/stream/", "/public/ws/", "/nowhere", "/ws?a@trade"])
async def test_a_target_without_a_route_is_refused(simulator: Simulator, target: str) -> None:
    assert await answer_to_upgrade(simulator, target) == b"HTTP/1.1 404 Not Found"


async def test_invalid_json_is_answered_and_then_the_connection_closes(
    simulator: Simulator,
) -> None:
    async with connect(simulator, TRADES) as client:
        await client.send_message("hello")
        replies, code, _ = await closed_after(client)
    message = "Invalid JSON: expected value at line 1 column 1"
    assert replies == [{"error": {"code": 3, "msg": message}}]
    assert code == 1008


async def test_the_1025th_stream_is_refused_and_all_are_lost(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client:
        names = [f"s{number}@trade" for number in range(1_024)]
        request = {"method": "SUBSCRIBE", "params": names, "id": 9}
        await client.send_message(json.dumps(request))
        replies, code, reason = await closed_after(client)
    assert replies == [{"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 9}]
    assert (code, reason) == (1008, "Invalid request")


async def test_of_forty_requests_back_to_back_fifteen_are_answered(simulator: Simulator) -> None:
    async with connect(simulator, "/public/ws") as client:
        for number in range(40):
            request = json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number})
            try:
                await client.send_message(request)
            except ConnectionClosed:
                break
        replies, code, reason = await closed_after(client)
    assert [reply["id"] for reply in replies] == list(range(15))
    assert (code, reason) == (1008, "Too many requests")
