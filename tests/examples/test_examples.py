"""Each example as a newcomer runs it: a process of its own, against a service, a server or an
exchange on loopback. What it prints, how it ends, and that it ends without a traceback."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from fanout.protocol import (
    START,
    BlockFlags,
    BookBlock,
    BookFlags,
    BookUpdate,
    End,
    EndReason,
    Header,
    Instrument,
    Loss,
    LossReason,
    Reference,
    decode_block,
    decode_opening,
    encode_book,
    encode_event,
    frame,
    opening,
    pack_levels,
)
from fanout.protocol.framing import payloads_of
from fanout.simulator import SimulatorConfig
from fanout.transports.multicast import MulticastConfig, MulticastTransport
from fanout.transports.tcp import TcpConfig, TcpTransport
from tests.clients.nats_streams import CHANNEL, stand
from tests.clients.test_journal import Folder
from tests.fanout.cli.analysing.quotes import Market
from tests.stand import channels
from tests.stand.channels import new_channel, publish
from tests.stand.groups import LOOPBACK, free_groups
from tests.stand.inside import config_for, running_service, running_simulator
from tests.stand.nats import NatsServer

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
"""Far more than anything here takes: a slow machine is no failure."""

TRADE = re.compile(r"(BTC|ETH)USDT \d+\.\d{3} @ \d+\.\d{2}")
VENUE_TRADE = re.compile(r"\d\d:\d\d BTCUSDT \d+\.\d{3} @ \d+\.\d\d")

every_tcp_client = pytest.mark.parametrize(
    "client", ["tcp_client.py", "tcp_client_asyncio.py", "tcp_client_trio.py"]
)


@pytest.fixture(autouse=True)
def heeded_interrupts() -> Iterator[None]:
    """A suite that a shell started in the background ignores SIGINT, and a child inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Example:
    """An example that runs."""

    def __init__(
        self,
        process: trio.Process,
        stdout: trio.abc.ReceiveStream,
        stderr: trio.abc.ReceiveStream,
    ) -> None:
        self._process = process
        self._stdout = stdout
        self._stderr = stderr
        self.output = ""

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    async def prints(self, text: str) -> None:
        """Wait until it has printed `text`."""
        while text not in self.output:
            assert await self._read(), f"ended with {self._process.poll()} after {self.output!r}"

    async def ends(self) -> tuple[int, str]:
        """Wait until it has; give its exit code and what it said on stderr."""
        while await self._read():
            pass
        errors = b"".join([each async for each in self._stderr])
        return await self._process.wait(), errors.decode()

    async def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; and then as `ends`."""
        self._process.send_signal(signal.SIGINT)
        return await self.ends()

    async def _read(self) -> bool:
        data = await self._stdout.receive_some()
        self.output += data.decode()
        return bool(data)


@asynccontextmanager
async def running(name: str, *args: object, exchange: str = "") -> AsyncIterator[Example]:
    """An example as a process, with a bound on the time for all that is done with it."""
    command = [sys.executable, f"examples/{name}", *map(str, args)]
    env = os.environ | {"PYTHONUNBUFFERED": "1", "FANOUT_WS_URL": exchange}
    process = await trio.lowlevel.open_process(command, cwd=ROOT, env=env, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with process.stdout, process.stderr:
            with trio.fail_after(PATIENCE_S):
                yield Example(process, process.stdout, process.stderr)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def serving(*payloads: bytes) -> AsyncIterator[str]:
    """A service that sends each client these payloads, and nothing after them."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(b"".join(map(frame, payloads)))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def quiet_venue() -> AsyncIterator[tuple[str, trio.MemoryReceiveChannel[str]]]:
    """An exchange that has nothing to say. Gives the paths that are asked for, too."""
    send, receive = trio.open_memory_channel[str](10)

    async def serve(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await send.send(request.path)
        with suppress(ConnectionClosed):
            await connection.get_message()

    async with trio.open_nursery() as nursery:
        listen = partial(serve_websocket, serve, "127.0.0.1", 0, ssl_context=None)
        server = await nursery.start(listen)
        yield f"ws://127.0.0.1:{server.port}", receive
        nursery.cancel_scope.cancel()


def header() -> bytes:
    """The frames of a header whose numbers begin at 1."""
    btc = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
    zero = Reference(price=0, quantity=0, trade_id=0, time=0)
    return opening(
        Header(epoch_ns=1, next_seq=1, venue="test", instruments=(btc,), references=(zero,))
    )


async def result_of(name: str, *args: object, exchange: str = "") -> tuple[int, str, list[str]]:
    """Run an example to its end: exit code, stderr, lines on stdout."""
    async with running(name, *args, exchange=exchange) as example:
        code, errors = await example.ends()
        return code, errors, example.lines


async def test_the_binary_format_goes_there_and_back() -> None:
    code, errors, lines = await result_of("binary_format.py")
    assert (code, errors) == (0, "")
    header_line, block_line, size, equal, *trades = lines
    header = decode_opening(bytes.fromhex(header_line.rpartition(" ")[2]))
    payload = bytes.fromhex(block_line.rpartition(" ")[2])
    assert block_line.startswith(f"block, {len(payload)} bytes")
    assert size == f"{len(frame(payload)) / 3:.1f} bytes a trade, all included"
    assert equal == "equal: True"
    assert trades == [
        f"{each.seq} {each.symbol} {each.trade_id} {each.price_text} {each.quantity_text}"
        for each in decode_block(payload, header).trades
    ]
    assert trades[0] == "1 BTCUSDT 5266583935 61800.30 0.006"


async def test_an_order_book_is_printed_as_it_changes_and_never_while_it_is_unknown() -> None:
    served = decode_opening(header())
    whole = book_update(5, [(100, 30), (99, 10)], [(101, 20)], BookFlags.WHOLE)
    frames = [
        encode_book(
            BookBlock(first_seq=1, updates=[whole], received_ns=0, flags=BlockFlags.SNAPSHOT),
            served,
        ),
        encode_book(
            BookBlock(first_seq=1, updates=[book_update(6, [(100, 0)], [])], received_ns=1), served
        ),
        encode_event(Loss(first_seq=2, last_seq=9, reason=LossReason.SLOW)),
    ]
    async with (
        serving(START, *payloads_of(header()), *frames) as url,
        running("order_book.py", url) as example,
    ):
        await example.prints("imbalance -0.33")
        await example.prints("\nBTCUSDT is unknown")
        assert await example.interrupt() == (0, "")
        assert example.lines[:3] == [
            "BTCUSDT bid 0.030 @ 1.00, ask 0.020 @ 1.01, imbalance +0.33",
            "BTCUSDT bid 0.010 @ 0.99, ask 0.020 @ 1.01, imbalance -0.33",
            "BTCUSDT is unknown",
        ]


def book_update(
    update_id: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    flags: BookFlags = BookFlags.NONE,
) -> BookUpdate:
    (btc,) = decode_opening(header()).instruments
    return BookUpdate(btc, update_id, 1, pack_levels(bids), pack_levels(asks), flags)


@every_tcp_client
async def test_a_tcp_client_prints_the_trades_of_the_example_server(client: str) -> None:
    async with running("tcp_server.py", 0) as server:
        await server.prints("\n")
        code, errors, lines = await result_of(client, server.lines[0], 5)
        assert (code, errors) == (0, "")
        assert lines == [f"BTCUSDT 0.050 @ 61800.{31 + each}" for each in range(5)]


async def test_the_server_outlives_its_clients_and_ends_on_interrupt() -> None:
    async with running("tcp_server.py", 0) as server:
        await server.prints("\n")
        url = server.output.strip()
        for _ in range(2):
            assert (await result_of("tcp_client.py", url, 1))[0] == 0
        async with running("tcp_client.py", url) as client:
            await client.prints("BTCUSDT")
            assert await server.interrupt() == (0, "")
            await client.prints("DISCONNECTED: ")
        assert server.lines == [url]


@every_tcp_client
async def test_a_tcp_client_prints_the_trades_of_a_service(client: str) -> None:
    async with (
        running_simulator(SimulatorConfig()) as simulator,
        running_service(config_for(simulator)) as service,
    ):
        code, errors, lines = await result_of(client, service.url, 20)
        assert (code, errors) == (0, "")
        trades = [each for each in lines if TRADE.fullmatch(each)]
        assert len(trades) == 20
        assert all(each.startswith("Status(") for each in lines if each not in trades)


@every_tcp_client
async def test_a_tcp_client_outlives_its_service_and_ends_on_interrupt(client: str) -> None:
    async with (
        running_simulator(SimulatorConfig()) as simulator,
        running_service(config_for(simulator)) as service,
        running(client, service.url) as example,
    ):
        await example.prints(" @ ")
        service.stop.set()
        await example.prints("END: the service was stopped\nDISCONNECTED: the service ended")
        assert await example.interrupt() == (0, "")


@every_tcp_client
async def test_a_tcp_client_tells_a_loss_and_ends_with_an_end_for_good(client: str) -> None:
    loss = Loss(first_seq=1, last_seq=7, reason=LossReason.SLOW)
    end = End(reason=EndReason.SLOW, last_seq=7, retry_ms=None, why="too slow too often")
    async with serving(START, *payloads_of(header()), encode_event(loss), encode_event(end)) as url:
        code, errors, lines = await result_of(client, url)
    assert (code, errors) == (0, "")
    assert lines == ["LOSS of 7 records: SLOW", "END: too slow too often"]


@every_tcp_client
async def test_a_tcp_client_without_a_service_says_so_and_keeps_trying(client: str) -> None:
    async with serving() as url:
        pass
    async with running(client, url) as example:
        await example.prints(" s\n")
        assert await example.interrupt() == (0, "")
        assert re.match(r"DISCONNECTED: .+; again in 0\.\d s\n", example.output)


@every_tcp_client
async def test_a_tcp_client_refuses_what_is_no_address(client: str) -> None:
    code, errors, lines = await result_of(client, "127.0.0.1:9000")
    assert (code, lines) == (1, [])
    assert errors == "'127.0.0.1:9000' is not an address: use tcp://HOST:PORT or tls://HOST:PORT\n"


async def test_a_recorder_that_was_stopped_goes_on_without_a_hole(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    async with (
        running_simulator(SimulatorConfig()) as simulator,
        running_service(config_for(simulator)) as service,
    ):
        for _ in range(3):
            assert await result_of("recorder.py", file, service.url, 40) == (0, "", [])
            with file.open("a") as killed:
                killed.write("1795219200000000000,9")  # in the middle of a row
    rows = [row.split(",") for row in file.read_text().splitlines()[:-1]]
    seqs = [int(row[1]) for row in rows]
    assert seqs == sorted(set(seqs))
    # It begins with all there is. The numbers that are no trade's tell of the feed's state.
    assert len(seqs) == 120
    assert seqs[-1] <= 120 + 6


async def test_a_journal_is_replayed_at_a_multiple_of_its_speed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    noon = 1_796_040_000_000_000_000  # 2026-11-30T12:00Z
    folder.story(noon).blocks(1, at_ns=noon).blocks(1, at_ns=noon + 60 * 10**9)
    folder.story(noon + 10**12).blocks(1, at_ns=noon + 10**12)
    folder.write()
    code, errors, lines = await result_of("journal_replay.py", folder.url, 1e6)
    assert (code, lines) == (0, ["5 BTCUSDT 0.06 0.007"] * 9)
    assert errors.startswith("Restarted(before=Position(")
    result = await result_of("journal_replay.py", folder.url, 1e6, "2026-11-30T13:01+01:00")
    assert (result[0], len(result[2])) == (0, 6)
    result = await result_of("journal_replay.py", f"journal://{tmp_path}/no")
    assert result == (1, f"journal://{tmp_path}/no: no channel no: the journal has spot\n", [])


async def test_features_of_a_journal_become_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    market, picture = Market(tmp_path / "journal").seconds(30), tmp_path / "features.png"
    code, errors, lines = await result_of("features_plot.py", market.url, "BTCUSDT", picture)
    assert (code, errors, lines) == (0, "", [])
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_trades_come_straight_from_the_venue_with_a_count_per_minute() -> None:
    # Ten trades in a market second, played flat out: 1,500 are two or three minutes.
    market = SimulatorConfig(symbols=("BTCUSDT",), rate=10, speed=None)
    async with running_simulator(market) as simulator:
        code, errors, lines = await result_of(
            "binance_trades.py", "BTCUSDT", 1500, exchange=simulator.ws_url
        )
    assert (code, errors) == (0, "")
    trades, counts = lines[:1500], lines[1500:]
    assert all(VENUE_TRADE.fullmatch(each) for each in trades)
    assert not any(" 0 @ 0" in each for each in trades), "an NA row is no trade"
    minutes = [each[:5] for each in trades]
    assert len(set(minutes)) >= 2
    assert counts == [f"{each}: {minutes.count(each)} trades" for each in dict.fromkeys(minutes)]


async def test_trades_from_the_venue_end_on_interrupt_with_the_count_so_far() -> None:
    async with (
        running_simulator(SimulatorConfig()) as simulator,
        running("binance_trades.py", exchange=simulator.ws_url) as example,
    ):
        await example.prints(" BTCUSDT ")
        assert await example.interrupt() == (0, "")
        # It may be in the middle of a line when it hears of it.
        assert re.search(r"\d\d:\d\d: [1-9]\d* trades\n$", example.output)


async def test_trades_from_the_venue_end_with_a_word_when_it_hangs_up() -> None:
    market = SimulatorConfig(duration_s=2.0)
    async with (
        running_simulator(market) as simulator,
        running("binance_trades.py", exchange=simulator.ws_url) as example,
    ):
        code, errors = await example.ends()
    assert code == 1
    assert "ConnectionClosed" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(("name", "code"), [("binance_trades.py", 1), ("stream_stats.py", 0)])
async def test_a_venue_that_is_not_there_is_said_in_a_line(name: str, code: int) -> None:
    async with serving() as url:
        pass
    got, errors, _ = await result_of(name, exchange=url.replace("tcp", "ws"))
    assert got == code
    assert "failed" in errors
    assert "Traceback" not in errors


async def test_stream_stats_compares_two_streams_of_a_symbol() -> None:
    market = SimulatorConfig(symbols=("ETHUSDT",), rate=100, speed=20)
    async with running_simulator(market) as simulator:
        code, errors, lines = await result_of(
            "stream_stats.py", "ETHUSDT", 2, exchange=simulator.ws_url
        )
    assert (code, errors) == (0, "")
    stats = re.compile(r"@(\w+): (\d+), (\d+\.\d) ms apart, mean (\d+\.\d{3})")
    found = {match[1]: match for each in lines if (match := stats.fullmatch(each))}
    trade, aggregate = found["trade"], found["aggTrade"]
    assert int(trade[2]) > int(aggregate[2]) > 0
    assert 0 < float(trade[3]) < float(aggregate[3])
    assert 0 < float(trade[4]) < float(aggregate[4])


async def test_stream_stats_end_on_interrupt() -> None:
    async with quiet_venue() as (url, connected), running("stream_stats.py", exchange=url) as stats:
        assert {await connected.receive(), await connected.receive()} == {
            "/public/stream?streams=btcusdt@trade",
            "/market/stream?streams=btcusdt@aggTrade",
        }
        assert await stats.interrupt() == (0, "")


async def test_the_client_for_nats_prints_trades_and_what_is_lost(nats_server: NatsServer) -> None:
    async def write() -> None:
        async with stand(nats_server.url, "fanout") as its:
            await its.begin(1, 1, 1)
            await its.remove(3)

    await trio.to_thread.run_sync(lambda: asyncio.run(write()))
    url = f"{nats_server.url}/{CHANNEL}"
    async with running("nats_client.py", url, "oldest", 2) as example:
        assert await example.ends() == (0, "")
    *lines, last = example.lines
    assert lines == [
        "BTCUSDT 0.005 @ 1.01",
        "LOSS of 1 records: EVICTED",
        "BTCUSDT 0.005 @ 1.03",
    ]
    assert last.startswith("1 lost, go on at Position(")
    async with running("nats_client.py", f"{nats_server.url}/none") as example:
        code, said = await example.ends()
    assert (code, len(said.splitlines())) == (1, 1)
    assert "there is no stream fanout-none" in said


async def test_the_client_for_multicast_prints_trades_and_what_the_lines_brought() -> None:
    group, _ = free_groups()
    sent = MulticastTransport(MulticastConfig(group=str(group), interface=LOOPBACK))
    channel = new_channel()
    async with (
        channels.serving(channel, TcpTransport(TcpConfig(port=0))) as tcp,
        channels.serving(channel, sent) as url,
        running("multicast_client.py", url, LOOPBACK, tcp, 3) as example,
        trio.open_nursery() as nursery,
    ):

        async def publish_on() -> None:
            for trade_id in range(1, 10**6):
                publish(channel, trade_id)
                await trio.sleep(0.01)

        nursery.start_soon(publish_on)
        assert await example.ends() == (0, "")
        nursery.cancel_scope.cancel()
    *trades, counts = example.lines
    assert trades == ["BTCUSDT 0.007 @ 0.06"] * 3
    assert counts.startswith("LinesStatistics(packets=")
