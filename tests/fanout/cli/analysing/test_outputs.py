"""Outputs by themselves: pipes that are full, files that are aborted, servers that go away."""

import os
import re
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from fanout.analytics.consumer.consumer import PlacedRow
from fanout.analytics.consumer.lines import CsvLines, JsonLines
from fanout.analytics.consumer.roster import Listed
from fanout.bridge.nats.options import NatsOptions
from fanout.cli.analysing import parquet as parquet_output
from fanout.cli.analysing.channel import NAME, open_channel
from fanout.cli.analysing.nats import check_subject, open_nats
from fanout.cli.analysing.parquet import open_parquet
from fanout.cli.analysing.stdout import PIECE_BYTES, StdoutOutput
from fanout.cli.outcome import OutputError
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.errors import EngineError, UsageError
from fanout.protocol.constants import MAX_COLUMNS, MAX_INSTRUMENTS, Absence
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End
from fanout.transports.tcp.config import TcpConfig
from tests.stand.nats import NatsServer

COLUMNS = ("mid", "spread")
LOST = int(Absence.LOST)


def listed_as(symbol: str, index: int = 0) -> Listed:
    of_rows = Instrument(
        index=index, symbol=f"okx:{symbol}", price_exponent=-2, quantity_exponent=-3
    )
    return Listed("okx", symbol, of_rows)


LISTED = [listed_as("BTC-USDT"), listed_as("ETH.USDT", 1)]


def rows(count: int, first: int = 0) -> list[PlacedRow]:
    """Rows of two instruments in turn. The spread is absent."""
    return [(each % 2, row(each)) for each in range(first, first + count)]


def row(number: int) -> FeatureRow:
    symbol = LISTED[number % 2].symbol
    instrument = Instrument(index=0, symbol=symbol, price_exponent=-2, quantity_exponent=-3)
    return FeatureRow(instrument, 10**18 + number, (number + 0.5, None), bytes([0, LOST]))


@pytest.mark.parametrize("is_blocking", [True, False])
async def test_a_pipe_that_nobody_reads_holds_up_the_output_and_nothing_else(
    is_blocking: bool,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, is_blocking)
    output = StdoutOutput(JsonLines(COLUMNS), LISTED, writing)
    output.add(rows(2_000))
    pieces: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.flush)
        with trio.move_on_after(0.05):
            await trio.sleep_forever()  # the loop goes on although the pipe is full
        assert len(nursery.child_tasks) == 1
        while nursery.child_tasks:
            pieces.append(os.read(reading, PIECE_BYTES))
            await trio.lowlevel.checkpoint()
        os.close(writing)
        while piece := os.read(reading, 65_536):
            pieces.append(piece)
    os.close(reading)
    lines = b"".join(pieces).splitlines()
    form = JsonLines(COLUMNS)
    assert lines == [form.line(LISTED[place], each)[:-1] for place, each in rows(2_000)]


async def test_a_wait_for_a_pipe_can_be_cancelled() -> None:
    reading, writing = os.pipe()
    output = StdoutOutput(JsonLines(COLUMNS), LISTED, writing)
    output.add(rows(2_000))
    with trio.move_on_after(0.02) as scope:
        await output.flush()
    assert scope.cancelled_caught
    os.close(reading)
    output.add(rows(1))
    with pytest.raises(BrokenPipeError):
        await output.flush()
    os.close(writing)


@pytest.mark.parametrize("kind", ["file", "terminal", "null"])
async def test_other_descriptors_get_the_same_lines(kind: str, tmp_path: Path) -> None:
    reading = -1
    if kind == "terminal":
        reading, writing = os.openpty()
    else:
        path = os.devnull if kind == "null" else tmp_path / "rows.csv"
        writing = os.open(path, os.O_WRONLY | os.O_CREAT)
    output = StdoutOutput(CsvLines(COLUMNS), LISTED, writing)
    await output.flush()
    output.add(rows(1))
    await output.flush()
    await output.flush()  # nothing more is due
    if kind != "terminal":
        os.close(writing)
    text = b"time_ns,venue,symbol,mid,spread\n1000000000000000000,okx,BTC-USDT,0.5,\n"
    if kind == "file":
        assert (tmp_path / "rows.csv").read_bytes() == text
    if kind == "terminal":
        shown = b""
        while len(shown.replace(b"\r\n", b"\n")) < len(text):
            shown += os.read(reading, 4_096)
        assert shown.replace(b"\r\n", b"\n") == text
        os.close(writing)
        os.close(reading)


async def test_a_full_disk_is_an_error_in_words() -> None:
    writing = os.open("/dev/full", os.O_WRONLY)
    output = StdoutOutput(CsvLines(COLUMNS), LISTED, writing)
    with pytest.raises(OutputError, match="cannot write: No space left on device"):
        await output.flush()
    os.close(writing)


async def test_parquet_is_written_in_groups_and_gets_its_name_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet_output, "BATCH_ROWS", 10)
    path = tmp_path / "rows.parquet"
    async with open_parquet(path, COLUMNS, LISTED, force=False) as output:
        for first in range(0, 25, 5):
            output.add(rows(5, first))
            await output.flush()
        assert output.rows == 20
        assert not path.exists()
    file = parquet.ParquetFile(path)
    assert file.num_row_groups == 3
    found = file.read().to_pylist()
    assert [each["mid"] for each in found] == [each + 0.5 for each in range(25)]
    assert [each["symbol"] for each in found[:2]] == ["BTC-USDT", "ETH.USDT"]
    assert {each["venue"] for each in found} == {"okx"}
    assert {each["spread"] for each in found} == {None}
    assert found[0]["absences"] == {"mid": None, "spread": "LOST"}
    assert [path.name] == os.listdir(tmp_path)


async def test_parquet_keeps_the_rows_before_an_error_elsewhere(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"

    async def fail() -> None:
        async with open_parquet(path, COLUMNS, LISTED, force=False) as output:
            output.add(rows(3))
            raise OutputError("elsewhere")

    with pytest.raises(OutputError, match="elsewhere"):
        await fail()
    assert parquet.read_table(path).num_rows == 3


async def test_a_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    async with open_parquet(path, COLUMNS, LISTED, force=False):
        pass
    names = parquet.read_table(path).column_names
    assert names == ["venue", "symbol", "time", *COLUMNS, "absences"]


async def test_what_a_killed_run_has_left_is_named_and_holds_up_no_other_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path, left = tmp_path / "rows.parquet", tmp_path / ".rows.parquet.0123abcd.part"
    left.write_bytes(b"PAR1")
    (tmp_path / ".rows.parquet.0123abcd.npy.part").touch()  # of `fanout save`, which names it
    async with open_parquet(path, COLUMNS, LISTED, force=False) as output:
        output.add(rows(3))
        async with open_parquet(path, COLUMNS, LISTED, force=True):
            pass  # that of a run that lives is not named
        path.unlink()
    assert parquet.read_table(path).num_rows == 3
    words = f"fanout: {left} is left of a run that was killed, and cannot be read: delete it\n"
    assert capsys.readouterr().err == 2 * words


async def test_parquet_replaces_a_file_only_if_it_may(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    path.write_text("mine")
    with pytest.raises(UsageError, match="--force replaces it"):
        async with open_parquet(path, COLUMNS, LISTED, force=False):
            pass
    assert path.read_text() == "mine"
    async with open_parquet(path, COLUMNS, LISTED, force=True):
        pass
    assert path.read_bytes()[:4] == b"PAR1"


async def test_a_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "rows.parquet"

    async def fail() -> None:
        async with open_parquet(path, COLUMNS, LISTED, force=False) as output:
            output.add(rows(3))
            monkeypatch.setattr(os, "write", full)

    with pytest.raises(OutputError, match=re.escape(f"cannot write {path}: No space left")):
        await fail()
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


async def received(client: TrioTcpClient, count: int) -> list[FeatureRow]:
    found: list[FeatureRow] = []
    async for each in client:
        if isinstance(each, FeatureRow) and each.seq:
            found.append(each)
        if len(found) == count:
            return found
    raise AssertionError(f"{len(found)} rows came")


async def test_a_channel_names_its_instruments_as_their_rows_come(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed: list[Listed] = []
    clock = iter(range(100, 10_000))
    async with open_channel(
        TcpConfig(port=0),
        COLUMNS,
        listed,
        newest_ns=lambda: 90,
        waits=False,
        wall_ns=lambda: next(clock),
    ) as output:
        url = capsys.readouterr().err.split()[-1]
        async with TrioTcpClient(f"{url}/{NAME}", reconnect=False) as client:
            header = await client.connect()
            assert (header.venue, header.instruments, header.columns) == (NAME, (), COLUMNS)
            await output.flush()
            for place in (0, 1):
                listed.append(LISTED[place])
                output.add(rows(1, place))
                await output.flush()
            found = await received(client, 2)
            assert [each.symbol for each in found] == ["okx:BTC-USDT", "okx:ETH.USDT"]
            assert [each.values for each in found] == [(0.5, None), (1.5, None)]
            assert found[0].absences == bytes([0, LOST])
            assert found[0].received_ns == 90


async def test_a_channel_says_end_when_the_consumer_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ends: list[End] = []

    async def read(url: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with TrioTcpClient(url, reconnect=False) as client:
            await client.connect()
            task_status.started()
            ends.extend([each async for each in client if isinstance(each, End)])

    async with (
        trio.open_nursery() as nursery,
        open_channel(
            TcpConfig(port=0), COLUMNS, LISTED, newest_ns=lambda: 90, waits=True
        ) as output,
    ):
        await nursery.start(read, capsys.readouterr().err.split()[-1])
        output.add(rows(3))
        await output.flush()
    assert [(each.last_seq, each.retry_ms) for each in ends] == [(3, None)]


async def test_a_channel_has_limits_that_are_told() -> None:
    many = [listed_as(f"S{each}", each) for each in range(MAX_INSTRUMENTS + 1)]
    long = [listed_as("S" * 64)]
    for listed, words in ((many, "1,024 instruments"), (long, "more than 64 bytes")):
        with pytest.RaisesGroup(pytest.RaisesExc(UsageError, match=words), flatten_subgroups=True):
            async with open_channel(
                TcpConfig(port=0), COLUMNS, listed, newest_ns=lambda: 90, waits=False
            ) as output:
                output.add(rows(1))
                await output.flush()
    names = [f"c{each}" for each in range(MAX_COLUMNS + 1)]
    with pytest.raises(UsageError, match="257 columns: at most 256"):
        async with open_channel(
            TcpConfig(port=0), names, LISTED, newest_ns=lambda: 90, waits=False
        ):
            pass


@pytest.mark.parametrize("subject", ["", "a..b", ".a", "a.*", "a.>", "a b", "x" * 201, "a.é"])
def test_what_cannot_begin_a_subject_is_refused(subject: str) -> None:
    with pytest.raises(UsageError, match="--nats-subject"):
        check_subject(subject)


async def test_a_server_that_is_not_there_is_told_at_the_start() -> None:
    with pytest.raises(EngineError, match=r"nats://127\.0\.0\.1:1"):
        async with open_nats(NatsOptions(url="nats://127.0.0.1:1"), "a", COLUMNS, LISTED):
            pass


async def test_rows_are_dropped_and_counted_while_the_server_is_gone(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fanout.cli.analysing.nats.RETRY_S", 0.05)
    options = NatsOptions(url=nats_server.url)
    async with open_nats(options, "features", COLUMNS, LISTED) as output:
        output.add(rows(3))
        await output.flush()
        await output.settle()
        assert output.dropped == 0
        nats_server.kill()
        sent = 3
        while output.dropped < 2:
            output.add(rows(1))
            sent += 1
            await output.flush()
            await trio.sleep(0.02)
        nats_server.restart()
        while "is back" not in capsys.readouterr().err:
            output.add(rows(1))
            await output.flush()
            await trio.sleep(0.02)
        dropped = output.dropped
        output.add(rows(2))
        await output.flush()
        await output.settle()
        assert output.dropped == dropped
