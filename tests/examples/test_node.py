"""The reader for Node, written from WIRE.md alone: the vectors, and a service beside our client."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import End, EndReason, Trade, encode_event, frame
from fanout.protocol.constants import START
from fanout.protocol.journal import FileHeader, encode_file_header
from fanout.simulator import SimulatorConfig
from tests.protocol import golden
from tests.stand.inside import Running, config_for, running_service, running_simulator

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node") or ""
PATIENCE_S = 60.0
"""Far more than anything here takes: a slow machine is no failure."""

TRADES = 400

pytestmark = pytest.mark.skipif(not NODE, reason="node is not installed")

Row = dict[str, Any]


async def run(*command: str) -> str:
    """What a script for Node prints. It ends well, and says nothing on stderr."""
    with trio.fail_after(PATIENCE_S):
        result = await trio.run_process(
            [NODE, *command], capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT
        )
    assert (result.returncode, result.stderr) == (0, b""), result.stdout[-2_000:].decode()
    return result.stdout.decode()


async def tail(address: str, *options: str) -> list[Row]:
    """The rows that `tail.mjs` prints of the service at `address`, until it ends."""
    printed = await run("examples/node/tail.mjs", address.removeprefix("tcp://"), *options)
    return [json.loads(line) for line in printed.splitlines()]


def trades_of(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["type"] == "trade" and not row["snapshot"]]


def row_of(trade: Trade) -> Row:
    """How `tail.mjs` prints it."""
    time_s = Decimal(trade.time).scaleb(trade.instrument.time_exponent)
    return {
        "type": "trade",
        "seq": str(trade.seq),
        "symbol": trade.symbol,
        "trade_id": str(trade.trade_id),
        "time_s": f"{time_s:f}",
        "price": trade.price_text,
        "quantity": trade.quantity_text,
        "side": "sell" if trade.buyer_is_maker else "buy",
        "kind": trade.kind.name,
        "back_filled": trade.back_filled,
        "snapshot": False,
        "received_ns": str(trade.received_ns),
    }


@asynccontextmanager
async def market() -> AsyncIterator[Running]:
    """A service of a market with bursts, so that there are blocks of several trades."""
    async with (
        running_simulator(SimulatorConfig(rate=2_000.0)) as simulator,
        running_service(config_for(simulator)) as service,
    ):
        yield service


async def received(url: str, count: int) -> tuple[list[Trade], int]:
    """The first trades of a service as our own client has them, and the service's epoch."""
    trades: list[Trade] = []
    with trio.fail_after(PATIENCE_S):
        async with TrioTcpClient(url, start="oldest") as client:
            async for record in client:
                trades += [record] if isinstance(record, Trade) else []
                if len(trades) >= count:
                    assert client.header is not None
                    return trades, client.header.epoch_ns
    raise AssertionError("the service ended before its time")


async def test_the_vectors_pass() -> None:
    report = await run("--test", "--test-reporter=tap", "examples/node/vectors.test.mjs")
    assert "\n# fail 0\n" in report


async def test_a_tail_from_the_oldest_is_what_our_client_got() -> None:
    async with market() as service:
        expected, _ = await received(service.url, TRADES)
        rows = await tail(service.url, "--start", "oldest", "--limit", str(TRADES))
    assert trades_of(rows) == [row_of(each) for each in expected]
    assert rows[0]["type"] == "header"
    assert not [row for row in rows if row["type"] in ("loss", "hole")]


async def test_a_tail_that_joins_late_has_the_same_trades_from_there_on() -> None:
    async with market() as service:
        await received(service.url, 50)
        rows = await tail(service.url, "--limit", str(TRADES))
        last = int(rows[-1]["seq"])
        expected, _ = await received(service.url, TRADES)
        while expected[-1].seq < last:
            expected, _ = await received(service.url, len(expected) + TRADES)
    first = int(trades_of(rows)[0]["seq"])
    assert trades_of(rows) == [row_of(each) for each in expected if first <= each.seq <= last]
    assert [row for row in rows if row["type"] == "trade" and row["snapshot"]]


async def test_a_tail_resumes_in_the_middle_of_a_block() -> None:
    async with market() as service:
        trades, epoch_ns = await received(service.url, TRADES)
        place = next(
            place
            for place, each in enumerate(trades[1:], 1)
            if each.seq == trades[place - 1].seq + 1
            and each.received_ns == trades[place - 1].received_ns
        )
        start = f"{epoch_ns}:{trades[place].seq}"
        rows = await tail(service.url, "--start", start, "--limit", str(TRADES - place))
    assert trades_of(rows) == [row_of(each) for each in trades[place:]]


@asynccontextmanager
async def sending(*payloads: bytes) -> AsyncIterator[str]:
    """A service that sends each client these payloads, and waits until it leaves."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(b"".join(map(frame, (START, *payloads))))
        async for _ in stream:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_a_tail_tells_what_is_not_a_trade_and_leaves_for_good() -> None:
    last = End(reason=EndReason.SHUTDOWN, last_seq=2_006, retry_ms=None, why="stopped")
    names = ("header", "instruments", "snapshot", "trades", "status", "gap", "loss", "heartbeat")
    payloads = (*map(golden.payload, names), encode_event(last))
    async with sending(*payloads) as address:
        rows = await tail(address)
    types = "header trade trade trade trade status gap loss heartbeat hole end"
    assert [row["type"] for row in rows] == types.split()
    assert rows[5]["symbol"] == golden.LIFE.symbol
    assert (rows[-2]["firstSeq"], rows[-2]["lastSeq"]) == ("2006", "2006")


async def test_a_tail_has_the_values_of_rows_by_the_names_of_their_columns() -> None:
    last = End(reason=EndReason.SHUTDOWN, last_seq=1_003, retry_ms=None, why="stopped")
    names = ("columns", "instruments", "features")
    async with sending(*map(golden.payload, names), encode_event(last)) as address:
        head, first, second, *_ = await tail(address)
    assert head["columns"] == list(golden.ROWS_HEADER.columns)
    assert list(first["values"].values()) == [83_091.65, 0.125, -1_478]
    assert second == {
        "type": "row",
        "seq": "1002",
        "symbol": golden.LIFE.symbol,
        "time_ns": "1791382992840000000",
        "values": {"mid": None, "spread_bps": None, "order_flow_imbalance_1000ms": 2.5},
        "absences": {"mid": "ONE_SIDED", "spread_bps": "ONE_SIDED"},
        "snapshot": False,
        "received_ns": "1791382992840123456",
    }


async def test_a_segment_of_a_journal_is_read_as_it_lies_there(tmp_path: Path) -> None:
    began = FileHeader(epoch_ns=golden.HEADER.epoch_ns, first_seq=1_001, created_ns=1)
    names = ("header", "instruments", "snapshot", "trades", "status")
    frames = b"".join(map(frame, (START, *map(golden.payload, names))))
    path = tmp_path / "1.fj"
    path.write_bytes(encode_file_header(began) + frames + b"\x50\0\0\0cut")
    printed = await run("examples/node/tail.mjs", str(path))
    types = [json.loads(line)["type"] for line in printed.splitlines()]
    assert types == ["header", "trade", "trade", "trade", "trade", "status"]


async def test_a_broken_wire_is_said_and_is_the_end() -> None:
    damaged = golden.payload("trades")[:-1] + b"\0"
    async with sending(*map(golden.payload, ("header", "instruments")), damaged) as address:
        with trio.fail_after(PATIENCE_S):
            result = await trio.run_process(
                [NODE, "examples/node/tail.mjs", address],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                cwd=ROOT,
            )
    assert result.returncode == 1
    assert result.stderr.startswith(b"tail: CRC is")
    assert result.stderr.count(b"\n") == 1
