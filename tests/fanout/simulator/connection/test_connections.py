"""Connections on demand: dropped, half open, stalled, told what they never asked for."""

import json
import os

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from fanout.errors import UsageError
from fanout.simulator import Simulator
from fanout.simulator.faults import (
    MAX_STANDING,
    Drop,
    Fault,
    Garbage,
    Insert,
    Malformed,
    Stall,
    UnknownEvent,
)
from tests.fanout.simulator.support import (
    AGGREGATES,
    TRADES,
    MemoryExchange,
    ask,
    closed_after,
    connect,
    data,
    open_tcp,
    read_to_end,
    rest,
    start,
    tick,
    trade,
    upgrade,
)
from tests.stand.callers import RawClient

NS_PER_S = 1_000_000_000

TEN_A_SECOND = [tick(trade(number), number * NS_PER_S // 10) for number in range(100)]


async def next_trade(client: RawClient) -> tuple[float, int]:
    """When a trade comes, and which."""
    event = await client.event()
    assert isinstance(event, TextMessage)
    return trio.current_time(), json.loads(event.data)["data"]["t"]


@pytest.mark.parametrize(("code", "reason"), [(1001, ""), (1000, "bye"), (1012, "restart")])
async def test_a_clean_drop_comes_with_a_close_frame(
    simulator: Simulator, code: int, reason: str
) -> None:
    async with connect(simulator, TRADES) as client:
        await data(client)
        simulator.faults.inject(Drop(code=code, reason=reason))
        assert await closed_after(client) == ([], code, reason or None)


async def test_a_drop_can_have_the_1008_of_too_many_requests(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client:
        await data(client)
        simulator.faults.inject(Drop(code=1008, reason="Too many requests"))
        assert await closed_after(client) == ([], 1008, "Too many requests")


async def test_a_drop_by_reset_is_a_reset(simulator: Simulator) -> None:
    stream = await open_tcp(simulator)
    async with stream:
        client = RawClient(stream)
        await client.shake_hands(TRADES)
        await client.event()
        simulator.faults.inject(Drop(how="reset"))
        with pytest.raises(trio.BrokenResourceError) as caught, trio.fail_after(5):
            await read_to_end(stream)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_cut_is_an_end_without_a_close_frame(simulator: Simulator) -> None:
    async with await open_tcp(simulator) as stream:
        client = RawClient(stream)
        await client.shake_hands(TRADES)
        await client.event()
        simulator.faults.inject(Drop(how="cut"))
        with trio.fail_after(5):
            while event := await client.event():
                assert isinstance(event, TextMessage)


async def test_a_half_open_connection_transfers_nothing_and_ends_only_with_the_client(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *TEN_A_SECOND)
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(1.05)
    venue.faults.inject(Drop(how="half-open"))
    received: list[Event | None] = []
    with trio.move_on_after(48 * 3_600):
        while True:
            await client.send(Ping(b"anybody?"))
            with trio.move_on_after(60):
                received.append(await client.event())
    assert all(isinstance(event, TextMessage) for event in received)
    assert len(received) == 11  # what was sent before
    assert venue.faults.connections == 0
    assert len(nursery.child_tasks) == 1
    await client.stream.aclose()
    await trio.sleep(1)
    assert not nursery.child_tasks


def read_what_is_there(stream: trio.SocketStream) -> None:
    while os.read(stream.socket.fileno(), 65_536):
        pass


async def test_a_half_open_socket_stays_open(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as playing, await open_tcp(simulator) as stream:
        client = RawClient(stream)
        await client.shake_hands(TRADES)
        await client.event()
        simulator.faults.inject(Drop(how="half-open", which="newest"))
        await client.send(Ping(b"anybody?"))
        for _ in range(500):
            await playing.get_message()
        with pytest.raises(BlockingIOError):  # nothing to read any more, and not the end
            read_what_is_there(stream)


async def test_a_drop_may_act_on_one_route_or_one_connection(simulator: Simulator) -> None:
    async with (
        connect(simulator, AGGREGATES) as market,
        connect(simulator, TRADES) as oldest,
        connect(simulator, TRADES) as newest,
    ):
        for client in (market, oldest, newest):
            await data(client)
        assert simulator.faults.connections == 3
        simulator.faults.inject(Drop(route="public", which="newest"))
        assert (await closed_after(newest))[1] == 1001
        simulator.faults.inject(Drop(which="oldest"))
        assert (await closed_after(market))[1] == 1001
        await data(oldest)


async def test_a_dropped_client_may_reconnect_at_once(simulator: Simulator) -> None:
    for drop in (Drop(), Drop("cut"), Drop("reset"), Drop("half-open"), Drop()):
        async with await open_tcp(simulator) as stream:
            client = RawClient(stream)
            await client.shake_hands(TRADES)
            await client.event()
            simulator.faults.inject(drop)


async def test_a_drop_without_connections_drops_nothing(simulator: Simulator) -> None:
    simulator.faults.inject(Drop())
    async with connect(simulator, TRADES) as client:
        await data(client)


async def test_the_lifetime_is_a_setting(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    venue = MemoryExchange(nursery, lifetime_s=100)
    client = await venue.client()
    assert await client.event() is None
    assert trio.current_time() == pytest.approx(100)


@pytest.mark.parametrize("limit", [1, 3, 40])
async def test_the_request_limit_is_a_setting(nursery: trio.Nursery, limit: int) -> None:
    simulator = await start(nursery, symbols=("BTCUSDT",), requests_per_second=limit)
    async with connect(simulator, "/public/ws") as client:
        for number in range(limit):
            assert (await ask(client, "LIST_SUBSCRIPTIONS", request_id=number))["id"] == number
        with pytest.raises(ConnectionClosed):
            await ask(client, "LIST_SUBSCRIPTIONS")
        assert (await closed_after(client))[1:] == (1008, "Too many requests")


async def test_a_stall_holds_everything_and_then_sends_it_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *TEN_A_SECOND)
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(3.05)
    venue.faults.inject(Stall(2))
    found = [await next_trade(client) for _ in TEN_A_SECOND]
    assert [trade_id for _, trade_id in found] == list(range(100))
    times = [round(moment, 2) for moment, _ in found]
    assert [moment for moment in times if 3.05 < moment < 5.05] == []
    assert times.count(5.05) == 20


async def test_a_stall_holds_pongs_and_acknowledgements_too(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    client = await venue.client("/public/ws")
    venue.faults.inject(Stall(2))
    await client.send(Ping(b"now"))
    await client.send(TextMessage('{"method":"LIST_SUBSCRIPTIONS","id":1}'))
    answers = {type(await client.event()) for _ in range(2)}
    assert answers == {Pong, TextMessage}
    assert trio.current_time() == pytest.approx(2)


async def test_a_stall_longer_than_the_write_timeout_drops_nobody(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *TEN_A_SECOND)
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    venue.faults.inject(Stall(60))
    venue.faults.inject(Stall(30))
    assert await next_trade(client) == (pytest.approx(60), 0)


async def test_a_stall_can_be_ended(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    venue = MemoryExchange(nursery, *TEN_A_SECOND)
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    venue.faults.inject(Stall(3_600))
    await trio.sleep(5)
    venue.faults.clear()
    assert await next_trade(client) == (pytest.approx(5), 0)


async def test_a_stall_may_act_on_one_connection_or_one_route(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *TEN_A_SECOND)
    oldest, newest = await venue.client(), await venue.client()
    aggregates = await venue.client(AGGREGATES)
    await trio.testing.wait_all_tasks_blocked()
    venue.faults.inject(Stall(60, which="oldest"))
    venue.faults.inject(Stall(5, route="market"))
    nursery.start_soon(venue.exchange.play, 1.0)
    assert await next_trade(newest) == (pytest.approx(0), 0)
    await aggregates.event()
    assert trio.current_time() == pytest.approx(5)
    late = await venue.client()  # who comes later is not the one that stalls
    assert (await next_trade(late))[0] == pytest.approx(5.1)
    assert await next_trade(oldest) == (pytest.approx(60), 0)


async def test_a_client_that_connects_while_all_connections_stall_stalls_too(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *TEN_A_SECOND)
    venue.faults.inject(Stall(30))
    await venue.client("/public/ws")
    assert trio.current_time() == pytest.approx(30)


async def test_a_stall_of_an_hour_ends_no_connection_for_a_missing_pong(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    client = await venue.client("/public/ws")
    venue.faults.inject(Stall(3_600))
    assert isinstance(await client.event(), Ping)
    assert trio.current_time() == pytest.approx(3_600)


async def test_a_stall_stands_until_it_is_over(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(Stall(2))
    venue.faults.inject(Stall(4, which="newest"))
    assert venue.faults.standing == (Stall(2), Stall(4, which="newest"))
    await trio.sleep(3)
    assert venue.faults.standing == (Stall(4, which="newest"),)


async def test_standing_stalls_are_limited(nursery: trio.Nursery) -> None:
    venue = MemoryExchange(nursery)
    for _ in range(MAX_STANDING):
        venue.faults.inject(Stall(60))
    with pytest.raises(UsageError, match="1,000 stalls stand already"):
        venue.faults.inject(Stall(60))


async def test_a_stalled_connection_ends_when_its_outbox_overflows(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    client = await venue.client()
    await trio.testing.wait_all_tasks_blocked()
    venue.faults.inject(Stall(60))
    for _ in range(4):
        venue.faults.inject(Insert("BTCUSDT", count=40_000))
    assert await client.event() is None
    assert trio.current_time() == pytest.approx(0)


async def test_rest_does_not_stall(simulator: Simulator) -> None:
    simulator.faults.inject(Stall(3_600))
    async with rest(simulator) as http:
        with trio.fail_after(5):
            assert (await http.request("/fapi/v1/ping")).status == 200


async def said(nursery: trio.Nursery, fault: Fault, target: str = TRADES) -> Event | None:
    """What a client is told that hears no trades."""
    venue = MemoryExchange(nursery)
    client = await venue.client(target)
    await trio.testing.wait_all_tasks_blocked()
    venue.faults.inject(fault)
    with trio.fail_after(5):
        return await client.event()


async def test_a_frame_may_be_sent_to_one_connection_only(nursery: trio.Nursery) -> None:
    venue = MemoryExchange(nursery)
    oldest, newest = await venue.client(), await venue.client()
    await trio.testing.wait_all_tasks_blocked()
    venue.faults.inject(Malformed("only you", which="oldest"))
    venue.faults.inject(Malformed("both of you"))
    with trio.fail_after(5):
        texts = [await oldest.event(), await oldest.event(), await newest.event()]
    assert [each.data for each in texts if isinstance(each, TextMessage)] == [
        "only you",
        "both of you",
        "both of you",
    ]


async def test_malformed_json_is_a_text_frame(nursery: trio.Nursery) -> None:
    event = await said(nursery, Malformed())
    assert isinstance(event, TextMessage)
    with pytest.raises(json.JSONDecodeError):
        json.loads(event.data)


async def test_malformed_may_be_any_text(nursery: trio.Nursery) -> None:
    event = await said(nursery, Malformed('{"币":' * 1_000))
    assert isinstance(event, TextMessage)
    assert event.data == '{"币":' * 1_000


@pytest.mark.parametrize("name", ["serverShutdown", "contractInfo"])
async def test_an_unknown_event_comes_in_an_envelope_or_raw(
    nursery: trio.Nursery, autojump_clock: MockClock, name: str
) -> None:
    payload = {"e": name, "E": 0, "more": [1]}
    combined = await said(nursery, UnknownEvent(name, {"more": [1]}))
    assert isinstance(combined, TextMessage)
    assert json.loads(combined.data) == {"stream": f"!{name}", "data": payload}
    raw = await said(nursery, UnknownEvent(name, {"more": [1]}), "/public/ws")
    assert isinstance(raw, TextMessage)
    assert json.loads(raw.data) == payload


async def test_garbage_is_seeded_noise_in_a_binary_frame(nursery: trio.Nursery) -> None:
    first, again = [await said(nursery, Garbage(1_000)) for _ in range(2)]
    assert isinstance(first, BytesMessage)
    assert isinstance(again, BytesMessage)
    assert len(first.data) == 1_000
    assert first.data == again.data


async def test_unframed_garbage_is_no_websocket(nursery: trio.Nursery) -> None:
    event = await said(nursery, Garbage(framed=False))
    assert isinstance(event, CloseConnection)  # what our own end makes of it
    assert event.code == 1002


@pytest.mark.parametrize(
    ("dialect", "target", "count", "wait_s", "says"),
    [
        ("deribit", "/ws/api/v2", 32, 0.01, b"32 are open, and an address may have no more"),
        ("bitfinex", "/ws/2", 20, 60.0, b"an address may open 20 in 60 s"),
        ("okx", "/ws/v5/public", 3, 1.0, b"an address may open 3 in 1 s"),
    ],
)
async def test_an_address_has_so_many_connections(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    dialect: str,
    target: str,
    count: int,
    wait_s: float,
    says: bytes,
) -> None:
    exchange = MemoryExchange(nursery, dialect=dialect)

    async def opened() -> tuple[trio.abc.Stream, bytes]:
        stream = exchange.connect()
        await stream.send_all(upgrade(target))
        return stream, bytes(await stream.receive_some())

    streams = [await opened() for _ in range(count)]
    assert {answer.split()[1] for _, answer in streams} == {b"101"}
    _, refusal = await opened()
    head, _, body = refusal.partition(b"\r\n\r\n")
    assert (head.split()[1], body) == (b"429", b"too many connections: " + says)
    assert b"Content-Length: %d" % len(body) in head
    await streams[0][0].aclose()
    await trio.sleep(wait_s)
    assert (await opened())[1].split()[1] == b"101"
