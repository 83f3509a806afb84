import json
import time
from functools import partial
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from outcome import acapture

from fanout.channel.channel import Channel
from fanout.channel.log import Log
from fanout.clients.tcp_trio import Disconnected, TrioTcpClient
from fanout.config import Config, SimConfig, SourceConfig
from fanout.errors import BindError, ConfigError, VenueForbiddenError, VenueUnreachableError
from fanout.feed.market import reference_of
from fanout.protocol import (
    End,
    EndReason,
    FeedState,
    Header,
    Loss,
    Reference,
    Snapshot,
    Status,
    Trade,
)
from fanout.protocol.errors import FanoutError
from fanout.service import _open_sources, run_service
from fanout.simulator import Simulator, SimulatorConfig
from fanout.transports.multicast.config import MulticastConfig
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.acceptor import Outlet
from fanout.transports.tcp.broadcaster import Broadcaster
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.wire1 import Wire1
from fanout.transports.tcp.wire2 import Wire2
from fanout.venues import VENUES, BinanceUsdm
from tests.fanout.scripted import ScriptedRest, answer
from tests.protocol.golden import BTC
from tests.stand.groups import LOOPBACK, free_groups
from tests.stand.inside import Running, config_for, one_source, running_service, running_simulator

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def info(*symbols: str) -> bytes:
    rows = [
        {
            "symbol": symbol,
            "status": "TRADING",
            "contractType": "PERPETUAL",
            "pricePrecision": 2,
            "quantityPrecision": 3,
        }
        for symbol in symbols
    ]
    return json.dumps({"symbols": rows}).encode()


def rows(first_id: int, price: str) -> bytes:
    return json.dumps(
        [
            {
                "id": first_id + i,
                "price": price,
                "qty": "2.000",
                "time": 5 + i,
                "isBuyerMaker": True,
            }
            for i in range(3)
        ]
    ).encode()


async def failure_of(config: Config) -> FanoutError:
    """Why a service did not start. It announces nothing then."""
    running = Running(trio.Event())
    run = partial(run_service, config, stop=running.stop, announce=running.announce)
    error = (await acapture(run)).error  # type: ignore[union-attr]
    assert running.urls == []
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, FanoutError)
    return error


async def header_of(url: str) -> Header:
    async with TrioTcpClient(url, reconnect=False) as client:
        return await client.connect()


async def test_with_the_simulator_inside_it_serves_trades_from_the_start() -> None:
    config = one_source(
        assets=("BTCUSDT", "ETHUSDT"),
        transports=(TcpConfig(port=0), TcpConfig(port=0)),
        venue="sim",
        sim=SimConfig(rate=2000.0),
    )
    seen: dict[str, set[str]] = {}
    with trio.fail_after(20):
        async with running_service(config) as service, trio.open_nursery() as nursery:
            while len(service.urls) < 2:  # noqa: ASYNC110  the second follows the first at once
                await trio.sleep(0.001)

            async def read(url: str) -> None:
                async with TrioTcpClient(url) as client:
                    symbols = seen.setdefault(url, set())
                    async for record in client:
                        if isinstance(record, Trade):
                            symbols.add(record.symbol)
                        if len(symbols) == 2:
                            return

            for url in service.urls:
                nursery.start_soon(read, url)
    assert list(seen.values()) == [{"BTCUSDT", "ETHUSDT"}] * 2


async def test_a_joiner_sees_last_trades_before_the_first_live_one() -> None:
    with trio.fail_after(20):
        async with (
            running_simulator(SimulatorConfig(symbols=SYMBOLS, hold=True)) as simulator,
            running_service(config_for(simulator, *SYMBOLS)) as service,
            TrioTcpClient(service.url) as client,
        ):
            first = await anext(client)
            assert isinstance(first, Snapshot)
            assert [each.symbol for each in first.trades] == list(SYMBOLS)
            assert client.header is not None
            for reference, trade in zip(client.header.references, first.trades, strict=True):
                assert (reference.trade_id, reference.time) == (trade.trade_id, trade.time)
                assert abs(reference.price - trade.price) < trade.price / 10


async def test_references_stay_with_their_symbols_in_whatever_order_answers_come() -> None:
    class LateFirst(ScriptedRest):
        """Holds the first symbol's answer back until all the others have been given."""

        def __init__(self) -> None:
            super().__init__()
            self.others = 0
            self.all_others = trio.Event()

        async def _serve(self, stream: trio.SocketStream) -> None:
            async with stream:
                request = (await stream.receive_some()).decode()
                if "exchangeInfo" in request:
                    await stream.send_all(answer(200, info(*SYMBOLS)))
                    return
                if "/time" in request:
                    await stream.send_all(answer(200, b'{"serverTime":1}'))
                    return
                symbol = request.partition("symbol=")[2].partition("&")[0]
                place = SYMBOLS.index(symbol)
                if place == 0:
                    await self.all_others.wait()
                await stream.send_all(answer(200, rows(100 * place, f"{place + 1}.00")))
                self.others += 1
                if self.others == 2:
                    self.all_others.set()

    with trio.fail_after(20):
        async with LateFirst().running() as venue:
            config = one_source(
                assets=SYMBOLS,
                transports=(TcpConfig(port=0),),
                rest_url=venue.rest_url,
                ws_url="ws://127.0.0.1:1",
            )
            async with running_service(config) as service:
                header = await header_of(service.url)
    assert [each.price for each in header.references] == [100, 200, 300]
    assert [each.trade_id for each in header.references] == [2, 102, 202]


async def test_an_unknown_symbol_is_refused_before_anything_listens() -> None:
    async with ScriptedRest(answer(200, info("BTCUSDT"))).running() as venue:
        config = one_source(
            assets=("BTCUSD",), transports=(TcpConfig(port=0),), rest_url=venue.rest_url
        )
        error = await failure_of(config)
    assert isinstance(error, ConfigError)
    assert "did you mean BTCUSDT?" in str(error)


async def test_more_connections_than_the_venue_allows_are_refused_before_anything_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BinanceUsdm, "limits", replace(BinanceUsdm.limits, connections=1))
    script = ScriptedRest(answer(200, info("BTCUSDT")), answer(200, b"[]"))
    async with script.running() as venue:
        config = one_source(assets=("BTCUSDT",), transports=(), rest_url=venue.rest_url)
        error = await failure_of(config)
    assert isinstance(error, ConfigError)
    assert "1, and one for replacements; binance-usdm allows an address 1" in str(error)


async def test_a_symbol_the_simulator_does_not_know_is_refused() -> None:
    config = one_source(assets=("NOSUCHUSDT",), transports=(), venue="sim", sim=SimConfig())
    assert isinstance(await failure_of(config), ConfigError)


async def test_recent_trades_that_make_no_sense_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout.net.rest.ATTEMPTS", 1)
    script = ScriptedRest(answer(200, info("BTCUSDT")), answer(200, rows(1, "1.005")))
    async with script.running() as venue:
        config = one_source(
            assets=("BTCUSDT",), transports=(TcpConfig(port=0),), rest_url=venue.rest_url
        )
        error = await failure_of(config)
    assert "recent trades are nonsense" in str(error)


async def test_a_venue_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout.net.rest.ATTEMPTS", 1)
    config = one_source(assets=("BTCUSDT",), transports=(), rest_url="http://127.0.0.1:1")
    assert isinstance(await failure_of(config), VenueUnreachableError)


class OtherMarket(BinanceUsdm):
    """A second market of an exchange that counts the requests of both together."""

    name = "other-market"


async def test_sources_at_one_address_under_one_limit_share_a_rest_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(VENUES, "other-market", OtherMarket)
    here, there = "http://127.0.0.1:1", "http://127.0.0.1:2"
    places = [
        ("binance", here, "a"),
        ("other-market", here, "b"),
        ("binance-spot", here, "c"),
        ("binance", there, "d"),
    ]
    config = Config(
        sources=tuple(
            SourceConfig(assets=("BTCUSDT",), venue=venue, rest_url=url, channel=channel)
            for venue, url, channel in places
        ),
        transports=(TcpConfig(port=0),),
    )
    async with _open_sources(config, time.time_ns) as sources:
        first, second, third, fourth = (each._rest for each in sources)
    assert first is second
    assert len({id(each) for each in (first, third, fourth)}) == 3


async def test_a_port_in_use_is_told_and_nothing_goes_on() -> None:
    async with running_simulator(SimulatorConfig(symbols=("BTCUSDT",))) as simulator:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        config = one_source(
            assets=("BTCUSDT",),
            transports=(TcpConfig(port=port),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        error = await failure_of(config)
        await listeners[0].aclose()
    assert isinstance(error, BindError)


async def test_it_can_be_stopped_while_it_still_asks_the_venue() -> None:
    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, say_nothing, 0)
        port = listeners[0].socket.getsockname()[1]
        config = one_source(assets=("BTCUSDT",), transports=(), rest_url=f"http://127.0.0.1:{port}")
        running = Running(trio.Event())
        with trio.fail_after(5):
            async with trio.open_nursery() as service:
                run = partial(run_service, config, stop=running.stop, announce=running.announce)
                service.start_soon(run)
                await trio.sleep(0.05)
                running.stop.set()
        nursery.cancel_scope.cancel()


async def test_an_orderly_end_is_told_with_when_to_come_back() -> None:
    with trio.fail_after(20):
        async with (
            running_simulator(SimulatorConfig(symbols=("BTCUSDT",))) as simulator,
            running_service(config_for(simulator, "BTCUSDT")) as service,
            TrioTcpClient(service.url, reconnect=False) as client,
        ):
            await client.connect()
            service.stop.set()
            records = [each async for each in client]
    end = records[-1]
    assert isinstance(end, End)
    assert (end.reason, end.retry_ms) == (EndReason.SHUTDOWN, 1_000)
    numbers = [each.seq for each in records if isinstance(each, Trade | Status)]
    assert not numbers or end.last_seq == numbers[-1]


async def test_a_venue_that_refuses_for_good_ends_the_service_and_says_so_to_its_clients() -> None:
    """REST is served, and then the WebSocket handshake is refused with 451."""
    script = ScriptedRest(answer(200, info("BTCUSDT")), answer(200, rows(1, "1.00")), answer(451))
    script.hold[3] = trio.Event()
    records: list[object] = []

    async def read(url: str) -> None:
        async with TrioTcpClient(url, reconnect=False) as client:
            await client.connect()
            script.hold[3].set()
            records.extend([each async for each in client])

    async def serve_until_it_fails(config: Config) -> None:
        async with running_service(config) as service:
            await read(service.url)

    with trio.fail_after(20):
        async with script.running() as venue:
            config = one_source(
                assets=("BTCUSDT",),
                transports=(TcpConfig(port=0),),
                rest_url=venue.rest_url,
                ws_url=venue.rest_url.replace("http", "ws"),
            )
            with pytest.raises(BaseExceptionGroup) as caught:
                await serve_until_it_fails(config)
    assert caught.group_contains(VenueForbiddenError)
    end = records[-1]
    assert isinstance(end, End)
    assert (end.reason, end.retry_ms) == (EndReason.FEED_FAILED, None)
    assert "451" in end.why


async def test_a_fault_of_ours_is_raised_after_the_readers_had_their_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[object] = []
    joined = trio.Event()

    async def fail(_feed: object) -> None:
        await joined.wait()
        raise ZeroDivisionError("a fault of ours")

    async def serve_until_it_fails(config: Config) -> None:
        async with (
            running_service(config) as service,
            TrioTcpClient(service.url, reconnect=False) as client,
        ):
            await client.connect()
            joined.set()
            records.extend([each async for each in client if not isinstance(each, Disconnected)])

    monkeypatch.setattr("fanout.feed.Feed.run", fail)
    with trio.fail_after(20):
        async with running_simulator(SimulatorConfig(symbols=("BTCUSDT",))) as simulator:
            with pytest.raises(BaseExceptionGroup) as caught:
                await serve_until_it_fails(config_for(simulator, "BTCUSDT"))
    assert caught.group_contains(ZeroDivisionError)
    end = records[-1]
    assert isinstance(end, End)
    assert (end.reason, end.why) == (EndReason.FEED_FAILED, "an internal fault")


class FailingBroadcaster(Broadcaster):
    """Fails within the step of the feed that publishes something, once it is to."""

    is_failing = False

    def take(self, log: Log[Any]) -> bool:
        if self.is_failing:
            raise ZeroDivisionError("a fault of ours")
        return super().take(log)


async def test_a_transport_that_fails_while_a_feed_publishes_ends_as_any_other_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The feed sees nothing of it: the readers of the other transports get all up to an END that
    says that the service was stopped."""
    records: list[object] = []
    failing = FailingBroadcaster(piece_bytes=1)
    outlet = TcpTransport._outlet

    def fail_the_second(transport: TcpTransport, wire: Wire1 | Wire2) -> Outlet:
        if transport.config.host == "127.0.0.2":
            return Outlet(wire, failing)
        return outlet(transport, wire)

    async def serve_until_it_fails(config: Config) -> None:
        async with (
            running_service(config) as service,
            TrioTcpClient(service.url, reconnect=False) as client,
        ):
            await client.connect()
            failing.is_failing = True
            records.extend([each async for each in client])

    monkeypatch.setattr(TcpTransport, "_outlet", fail_the_second)
    with trio.fail_after(20):
        async with running_simulator(SimulatorConfig(symbols=("BTCUSDT",))) as simulator:
            config = config_for(simulator, "BTCUSDT")
            second = TcpConfig(host="127.0.0.2", port=0)
            config = replace(config, transports=(*config.transports, second))
            with pytest.raises(BaseExceptionGroup) as caught:
                await serve_until_it_fails(config)
    assert caught.group_contains(ZeroDivisionError)
    end = records[-1]
    assert isinstance(end, End)
    assert (end.reason, end.why) == (EndReason.SHUTDOWN, "the service was stopped")
    assert not any(isinstance(each, Loss) for each in records)


async def test_a_transport_that_fails_ends_the_service_and_the_others_say_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[object] = []
    break_down = trio.Event()
    watch = TcpTransport._watch

    async def fail_the_second(transport: TcpTransport) -> None:
        if transport.config.host == "127.0.0.2":
            await break_down.wait()
            raise ZeroDivisionError("a fault of ours")
        await watch(transport)

    async def serve_until_it_fails(config: Config) -> None:
        async with (
            running_service(config) as service,
            TrioTcpClient(service.url, reconnect=False) as client,
        ):
            await client.connect()
            break_down.set()
            records.extend([each async for each in client])

    monkeypatch.setattr(TcpTransport, "_watch", fail_the_second)
    with trio.fail_after(20):
        async with running_simulator(SimulatorConfig(symbols=("BTCUSDT",))) as simulator:
            config = config_for(simulator, "BTCUSDT")
            second = TcpConfig(host="127.0.0.2", port=0)
            config = replace(config, transports=(*config.transports, second))
            with pytest.raises(BaseExceptionGroup) as caught:
                await serve_until_it_fails(config)
    assert caught.group_contains(ZeroDivisionError)
    assert isinstance(records[-1], End)


async def test_readers_stay_connected_while_the_venue_is_away() -> None:
    async def run_until_cancelled(
        config: SimulatorConfig, *, task_status: trio.TaskStatus[tuple[Simulator, trio.CancelScope]]
    ) -> None:
        with trio.CancelScope() as scope:
            async with running_simulator(config) as simulator:
                task_status.started((simulator, scope))
                await trio.sleep_forever()

    async def until(client: TrioTcpClient, state: FeedState) -> None:
        async for record in client:
            if isinstance(record, Status) and record.state is state:
                return

    config = SimulatorConfig(symbols=("BTCUSDT",), rate=500.0)
    with trio.fail_after(30):
        async with trio.open_nursery() as venue:
            simulator, scope = await venue.start(run_until_cancelled, config)
            again = replace(config, port=int(simulator.ws_url.rpartition(":")[2]))
            async with (
                running_service(config_for(simulator, "BTCUSDT")) as service,
                TrioTcpClient(service.url) as client,
            ):
                await until(client, FeedState.LIVE)
                scope.cancel()
                await until(client, FeedState.DOWN)
                _, scope = await venue.start(run_until_cancelled, again)
                await until(client, FeedState.LIVE)
                assert client.statistics.connections == 1
            scope.cancel()


def test_a_reference_is_the_mean_price_and_quantity_and_the_newest_id_and_time() -> None:
    trades = [Trade(BTC, 10, 100, 7, 1, True), Trade(BTC, 11, 101, 10, 4, True)]
    assert reference_of(trades) == Reference(price=8, quantity=2, trade_id=11, time=101)
    assert reference_of([]) == Reference(price=0, quantity=0, trade_id=0, time=0)


async def test_a_channel_makes_no_frames_that_a_transport_cannot_carry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = []

    class Noticed(Channel):
        def __init__(self, header: Header, **options: Any) -> None:
            limits.append(options["longest_frame_bytes"])
            super().__init__(header, **options)

    monkeypatch.setattr("fanout.source.Channel", Noticed)
    group = MulticastConfig(group=str(free_groups()[0]), interface=LOOPBACK, packet_bytes=600)
    async with running_simulator(SimulatorConfig()) as simulator:
        for transports in ((TcpConfig(port=0),), (TcpConfig(port=0), group)):
            config = replace(config_for(simulator), transports=transports)
            async with running_service(config):
                pass
    assert limits == [65_540, 552]
