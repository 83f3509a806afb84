"""What is in the rings, whatever becomes of the channel, the disk and the clock."""

import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.clients.consolidated import (
    ConsolidatedClient,
    ConsolidatedTrade,
    Missed,
    RingFault,
    Start,
)
from fanout.errors import BindError, ConfigError
from fanout.http.metrics import _of_rings
from fanout.protocol import DataKinds, FeedState, Gap, GapState, Instrument, LossReason, Trade
from fanout.protocol.constants import BlockFlags, InstrumentType
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.records import Loss, Reference
from fanout.stats.snapshots import RingStats, TransportStats
from fanout.transports.consolidate import kept_ring
from fanout.transports.consolidate.config import ConsolidateConfig
from fanout.transports.consolidate.keeping import KeptChannel, Taken
from fanout.transports.consolidate.kept_ring import Clocks
from fanout.transports.consolidate.metrics import MetricsFile, Row, Second
from fanout.transports.consolidate.ring_file import OwnedRing
from fanout.transports.consolidate.transport import TAKEN_BYTES, ConsolidateTransport
from fanout.transports.consolidate.worker import Worker
from tests.protocol.golden import BTC, LIFE
from tests.stand.channels import new_channel, publish, serving
from tests.stand.packed_ring import PackedRing

MIB = 2**20


def config(folder: Path, **options: object) -> ConsolidateConfig:
    return ConsolidateConfig(**{"rings": str(folder), "data_bytes": MIB, **options})  # type: ignore[arg-type]


def kept(folder: Path) -> list[ConsolidatedTrade]:
    """All trades in the rings. Nothing else may be there."""
    with ConsolidatedClient(str(folder), start=Start.OLDEST, follow=False) as client:
        found = list(client)
    assert not [each for each in found if isinstance(each, Missed | RingFault)]
    return [each for each in found if isinstance(each, ConsolidatedTrade)]


def ids(folder: Path) -> list[int | str]:
    return [each.exchange_trade_id for each in kept(folder)]


async def test_all_trades_of_a_channel_are_kept_with_their_digits(tmp_path: Path) -> None:
    channel = new_channel()
    by = ConsolidateTransport(config(tmp_path / "rings"))
    async with serving(channel, by) as url:
        assert url == f"rings://{tmp_path / 'rings'}"
        publish(channel, 1, 3)
        of = replace(BTC, type=InstrumentType.SPOT)
        channel.publish(
            [Trade(of, 9, 5, 61_800_30 * 10 ** -(BTC.price_exponent + 2), 7, True)],
            received_ns=4 * 10**9,
            held_ns=2_000_000,
        )
        publish(channel, 10, 2_000)
    trades = kept(tmp_path / "rings")
    assert [each.exchange_trade_id for each in trades] == [1, 2, 3, 9, *range(10, 2_010)]
    assert [each.writer_seq for each in trades] == list(range(1, 2_005))
    one = trades[3]
    assert (one.exchange, one.asset, one.side) == ("TEST", BTC.symbol, "Sell")
    assert (one.px, one.sz) == (BTC.price_text(of_price(one.px)), BTC.quantity_text(7))
    assert float(one.px) == 61_800.30
    assert (one.recv_ts_ms, one.parse_ts_ms) == (4_000, 4_002)
    assert one.persist_ts_ms >= one.enqueue_ts_ms > 0


def of_price(text: str) -> int:
    return round(float(text) * 100)


async def test_a_burst_larger_than_what_is_handed_over_at_once_is_kept_whole(
    tmp_path: Path,
) -> None:
    channel = new_channel()
    async with serving(channel, ConsolidateTransport(config(tmp_path, data_bytes=8 * MIB))):
        for first in range(0, 14_000, 1_000):
            publish(channel, first, 1_000)
        assert channel.log.appended_bytes > TAKEN_BYTES
    assert ids(tmp_path) == list(range(14_000))


async def test_a_ring_goes_on_where_it_ended_unless_it_is_to_begin_anew(tmp_path: Path) -> None:
    for first, options in ((1, {}), (11, {}), (21, {"reinit": True}), (31, {"index_slots": 0})):
        channel = new_channel()
        async with serving(channel, ConsolidateTransport(config(tmp_path, **options))):
            publish(channel, first, 2)
        if first == 11:
            assert ids(tmp_path) == [1, 2, 11, 12]
    trades = kept(tmp_path)
    assert [each.exchange_trade_id for each in trades] == [21, 22, 31, 32]
    assert [each.writer_seq for each in trades] == [1, 2, 3, 4]


async def test_trades_that_a_journal_brings_again_are_left_out(tmp_path: Path) -> None:
    for first in (1, 4):
        channel = new_channel()
        by = ConsolidateTransport(config(tmp_path))
        async with serving(channel, by):
            publish(channel, first, 5)
    (ring,) = by.stats().rings
    assert ids(tmp_path) == list(range(1, 9))
    assert (ring.repeated, ring.dedupe_size, ring.trades) == (2, 5, 3)


async def test_each_channel_has_rings_of_its_own_and_one_without_trades_has_none(
    tmp_path: Path,
) -> None:
    first, second, books = (new_channel(name=each) for each in ("first", "second", "books"))
    books.header = replace(books.header, data=DataKinds.BOOK_BY_PRICE)
    async with serving([first, second, books], ConsolidateTransport(config(tmp_path))):
        publish(second, 5)
        publish(first, 1)
    names = sorted(each for each in os.listdir(tmp_path) if each.endswith(".meta"))
    assert names == ["first_trade_chunk0.meta", "second_trade_chunk0.meta"]
    assert sorted(map(int, ids(tmp_path))) == [1, 5]
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="no channel has any")):
        async with serving(books, ConsolidateTransport(config(tmp_path))):
            pass


async def test_symbols_keep_their_chunk_when_others_are_listed(tmp_path: Path) -> None:
    channel = new_channel()
    known = channel.header.instruments
    options = {"chunk_symbols": len(known)}
    async with serving(channel, ConsolidateTransport(config(tmp_path, **options))):
        publish(channel, 1)
        new = Instrument(index=len(known), symbol="AAA", price_exponent=-1, quantity_exponent=0)
        zero = Reference(price=0, quantity=0, trade_id=0, time=0)
        channel.change([new], [zero])
        channel.publish([Trade(new, 7, 5, 15, 3, False)], received_ns=1, held_ns=1)
        publish(channel, 2)
    chunks = json.loads((tmp_path / "chunks.json").read_text())
    assert chunks == {"test": [sorted(each.symbol for each in known), ["AAA"]]}
    assert [(each.asset, each.px, each.writer_seq) for each in kept(tmp_path)] == [
        (BTC.symbol, BTC.price_text(6), 1),
        (BTC.symbol, BTC.price_text(6), 2),
        ("AAA", "1.5", 1),
    ]


async def test_a_second_service_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    async with serving(new_channel(), ConsolidateTransport(config(tmp_path))):
        with pytest.RaisesGroup(pytest.RaisesExc(BindError, match=f"process {os.getpid()},")):
            async with serving(new_channel(), ConsolidateTransport(config(tmp_path))):
                pass


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.RaisesGroup(pytest.RaisesExc(BindError, match="file exists")):
        async with serving(new_channel(), ConsolidateTransport(config(tmp_path / "file"))):
            pass


class Clock:
    """Both clocks, which stand still until a test moves them."""

    def __init__(self) -> None:
        self.wall = 1_764_374_399 * 10**9  # 2025-11-28 23:59:59
        self.mono = 0

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall, lambda: self.mono)


class Kept:
    """A worker without its thread, and a channel whose frames a test gives it."""

    def __init__(self, folder: Path, channel: Channel, **options: object) -> None:
        self.folder, self.channel, self.clock = folder, channel, Clock()
        by = ConsolidateTransport(config(folder, **options), clocks=self.clock.clocks)
        self.kept: KeptChannel = by._kept(channel)
        self.worker = Worker(
            MetricsFile(str(folder)), clocks=self.clock.clocks, pause=lambda pause_s: None
        )
        self.worker.open(self.kept, channel.header)
        self._position = channel.log.end

    def give(self, *, lost: int = 0) -> None:
        """Hand over what was published."""
        log = self.channel.log
        entries = [log.entry(each) for each in range(self._position, log.end)]
        self._position = log.end
        self.worker.give(self.kept, Taken(entries, lost, 5, 1))
        if not self.worker.is_running:
            self.worker.do(wait=False)

    def second(self) -> None:
        self.clock.mono += 10**9
        self.clock.wall += 10**9
        self.worker.do(wait=False)

    @property
    def ring(self) -> RingStats:
        return self.kept.rings[0].stats()

    @property
    def rows(self) -> list[dict[str, str]]:
        head, *rows = (self.folder / "metrics.csv").read_text().splitlines()
        return [dict(zip(head.split(","), each.split(","), strict=True)) for each in rows]


@contextmanager
def keeping_in(folder: Path, **options: object) -> Iterator[Kept]:
    made = Kept(folder, new_channel(), **options)
    yield made
    made.worker.close()


def test_each_second_has_a_row_for_each_ring(tmp_path: Path) -> None:
    with keeping_in(tmp_path) as made:
        channel, clock = made.channel, made.clock
        channel.publish_status(BTC, FeedState.LIVE, "")
        channel.publish_status(LIFE, FeedState.LIVE, "")
        time = clock.wall // 10**6 - 40
        for i in (1, 2):
            channel.publish([Trade(BTC, i, time, 6, 7, False)], received_ns=clock.wall, held_ns=0)
        first, last = (channel.log.entry(channel.log.end - each).arrived_ns for each in (2, 1))
        clock.mono = last + 3_500_000
        made.worker._next_row_ns = clock.mono + 10**9
        made.give()
        made.clock.wall -= 10 * 10**9
        made.second()
        made.second()
        (full, empty) = made.rows
        assert full["time_utc"] == "2025-11-28T23:59:50Z"
        assert (full["ring"], full["trade_count"]) == ("test_trade_chunk0", "2")
        assert int(full["trade_bytes"]) == made.ring.bytes > 500
        apart_ms = (last - first) / 1e6
        assert float(full["recv_to_write_ms_avg"]) == pytest.approx(3.5 + apart_ms / 2, abs=1e-3)
        assert float(full["recv_to_write_ms_max"]) == pytest.approx(3.5 + apart_ms, abs=1e-3)
        assert full["exchange_to_recv_ms_avg"] == "40.000"
        assert (full["writer_seq"], full["dedupe_size"]) == ("2", "0")
        assert (full["lost"], full["symbols_live"]) == ("0", "2")
    assert empty["trade_count"] == "0"
    assert empty["recv_to_write_ms_avg"] == empty["exchange_to_recv_ms_avg"] == ""


def test_a_clock_that_jumps_gives_no_wrong_duration_and_no_day_twice(tmp_path: Path) -> None:
    day = 86_400 * 10**9
    with keeping_in(tmp_path) as made:
        made.second()  # 29 November begins
        made.clock.wall -= 3 * day
        publish(made.channel, 1)
        made.clock.mono = made.channel.log.entry(made.channel.log.end - 1).arrived_ns
        made.worker._next_row_ns = made.clock.mono
        made.give()
        assert made.rows[-1]["recv_to_write_ms_max"] == "0.000"
        assert made.rows[-1]["time_utc"] == "2025-11-26T00:00:00Z"
        made.clock.wall += 400 * day
        made.second()
        made.clock.wall -= 397 * day
        for _ in range(3):
            made.second()
            made.clock.wall += day
    days = ["2025-11-26", "2025-11-29", "2025-11-29_2", "2025-11-30", "2026-12-31"]
    names = [each.name for each in tmp_path.glob("metrics*")]
    assert sorted(names) == ["metrics.csv", *(f"metrics_{each}.csv" for each in days)]
    for each in days:
        rows = (tmp_path / f"metrics_{each}.csv").read_text().splitlines()[1:]
        assert {row[:10] for row in rows} == {each[:10]}
    assert len(kept(tmp_path)) == 1


def test_a_clock_that_is_set_back_over_midnight_by_a_second_begins_no_file(tmp_path: Path) -> None:
    with keeping_in(tmp_path) as made:
        made.second()
        made.clock.wall -= 2 * 10**9
        made.second()
        made.second()
        made.second()
        assert len(made.rows) == 4
    assert [each.name for each in tmp_path.glob("metrics*")] == ["metrics.csv"]


def test_rows_are_a_second_apart_after_a_time_without_any(tmp_path: Path) -> None:
    with keeping_in(tmp_path) as made:
        made.clock.mono += 5 * 10**9
        made.second()
        for tenths in range(1, 21):
            made.clock.mono += 10**8
            made.worker.do(wait=False)
            assert len(made.rows) == 1 + tenths // 10


def test_rows_go_on_in_the_file_of_the_day_or_in_another(tmp_path: Path) -> None:
    clock = Clock()
    for wall in (clock.wall, clock.wall, clock.wall + 10**9):
        MetricsFile(str(tmp_path)).write([], wall)
        with (tmp_path / "metrics.csv").open("a") as file:
            file.write(f"2025-11-{28 + (wall > clock.wall)}T00:00:00Z,x\n")
    old = tmp_path / "metrics_2025-11-28.csv"
    assert old.read_text().count("time_utc") == 1
    assert (tmp_path / "metrics.csv").read_text().count("time_utc") == 1
    (tmp_path / "metrics.csv").write_text("time_utc\n2025-11-28T00:00:00Z\n")
    MetricsFile(str(tmp_path)).write([], clock.wall + 10**9)
    assert (tmp_path / "metrics_2025-11-28_2.csv").exists()


def test_two_services_share_the_rows_over_midnight(tmp_path: Path) -> None:
    files, clock = [MetricsFile(str(tmp_path)) for _ in range(2)], Clock()
    for wall in (clock.wall, clock.wall + 10**9):
        for ring, file in zip("ab", files, strict=True):
            row = Row(ring=ring, second=Second(), seq=1, dedupe_size=0, symbols_live=0)
            file.write([row], wall)
    for name in ("metrics.csv", "metrics_2025-11-28.csv"):
        head, *rows = (tmp_path / name).read_text().splitlines()
        assert head.startswith("time_utc")
        assert [each.split(",")[1] for each in rows] == ["a", "b"]


def test_rows_that_have_half_the_room_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = MetricsFile(str(tmp_path)), Clock()
    row = Row(ring="a", second=Second(), seq=1, dedupe_size=0, symbols_live=0)
    file.write([row], clock.wall)
    path = tmp_path / "metrics.csv"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        file.write([row], clock.wall)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    file.write([row], clock.wall)
    assert path.read_bytes().count(b"\n") == 3
    assert "no rows are written: No space left" in caplog.text


def test_a_full_disk_costs_rows_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with keeping_in(tmp_path) as made:
        (tmp_path / "metrics.csv").symlink_to("/dev/full")
        for number in (1, 2):
            publish(made.channel, number)
            made.give()
            made.second()
        assert "no rows are written" in caplog.text
        assert caplog.text.count("\n") == 1
    assert ids(tmp_path) == [1, 2]


def test_a_ring_that_cannot_be_written_keeps_its_trades_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = SimpleNamespace(now=True)
    real = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if failing.now:
            raise OSError(5, "Input/output error")
        return real(fd, data[:100], offset)  # a disk may take less than it is given

    with keeping_in(tmp_path) as made:
        monkeypatch.setattr("fanout.transports.consolidate.ring_file.os.pwrite", pwrite)
        publish(made.channel, 1, 100)
        made.give()
        assert (made.ring.why, made.ring.waiting, made.ring.seq) == ("Input/output error", 100, 0)
        publish(made.channel, 101, 30)
        made.give()  # not tried again within the second
        failing.now = False
        made.second()
        assert (made.ring.why, made.ring.waiting, made.ring.lost) == ("", 0, 0)
        assert [each.levelname for each in caplog.records] == ["ERROR", "WARNING"]
    assert ids(tmp_path) == list(range(1, 131))


def test_what_has_no_room_to_wait_is_lost_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_ring, "MAX_WAITING", 10)
    with keeping_in(tmp_path) as made:
        made.kept.rings[0].close()
        for each in tmp_path.glob("test*"):
            each.unlink()
        for ending in ("meta", "data"):
            (tmp_path / f"test_trade_chunk0.{ending}").write_bytes(b"x" * 100)
        publish(made.channel, 1, 13)
        made.give()
        assert "no ring" in made.ring.why
        assert (made.ring.waiting, made.ring.lost) == (10, 3)
        made.second()
        made.worker.stop()
        made.worker.do(wait=False)
        assert (made.ring.waiting, made.ring.lost) == (0, 13)
        assert sum(int(each["lost"]) for each in made.rows) == 13


def test_a_ring_that_is_removed_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with keeping_in(tmp_path) as made:
        publish(made.channel, 1)
        made.give()
        (tmp_path / "test_trade_chunk0.meta").unlink()
        made.second()
        assert "cut short or removed" in caplog.text
        publish(made.channel, 2)
        made.give()
        assert ids(tmp_path) == [2]
        (tmp_path / "test_trade_chunk0.data").write_bytes(b"cut")
        made.second()
        assert "half a file" in made.ring.why


def test_losses_and_ids_that_are_gone_are_counted(tmp_path: Path) -> None:
    with keeping_in(tmp_path) as made:
        publish(made.channel, 1)
        lost = Loss(first_seq=2, last_seq=5, reason=LossReason.SLOW)
        made.channel.relay(frame(encode_event(lost)), 4)
        gap = Gap(seq=0, instrument=BTC, first_id=7, last_id=9, state=GapState.OPEN, why="")
        made.channel.publish([gap], received_ns=1, held_ns=1)
        gone = replace(gap, state=GapState.UNRECOVERABLE)
        made.channel.publish([gone], received_ns=1, held_ns=1)
        made.give(lost=20)
        assert (made.ring.lost, made.kept.lost) == (27, 24)


def test_the_states_of_symbols_are_followed(tmp_path: Path) -> None:
    with keeping_in(tmp_path) as made:
        told = made.channel.publish_status
        for instrument, state, live in (
            (BTC, FeedState.LIVE, 1),
            (LIFE, FeedState.LIVE, 2),
            (BTC, FeedState.STALE, 1),
            (None, FeedState.LIVE, 1),
            (None, FeedState.DOWN, 0),
        ):
            told(instrument, state, "")
            made.give()
            assert made.ring.symbols_live == live


def test_new_symbols_wait_for_a_disk_that_can_keep_their_chunk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with keeping_in(tmp_path) as made:
        channel, chunks = made.channel, tmp_path / "chunks.json"
        text = chunks.read_text()
        chunks.write_text("{")
        new = Instrument(
            index=len(channel.header.instruments),
            symbol="NEW",
            price_exponent=0,
            quantity_exponent=0,
        )
        channel.change([new], [Reference(price=0, quantity=0, trade_id=0, time=0)])
        channel.publish_status(new, FeedState.LIVE, "")
        channel.publish([Trade(new, 1, 5, 6, 7, False)], received_ns=1, held_ns=1)
        gone = Gap(
            seq=0, instrument=new, first_id=2, last_id=3, state=GapState.UNRECOVERABLE, why=""
        )
        channel.publish([gone], received_ns=1, held_ns=1)
        publish(channel, 1)
        made.give()
        made.second()
        assert caplog.text.count("new symbols of test are not kept") == 1
        assert made.kept.lost == 1
        chunks.write_text(text)
        made.second()
        channel.publish([Trade(new, 4, 5, 6, 7, False)], received_ns=1, held_ns=1)
        made.give()
    assert [(each.asset, each.exchange_trade_id) for each in kept(tmp_path)] == [
        (BTC.symbol, 1),
        ("NEW", 4),
    ]


def test_the_figures_of_a_row_are_in_the_metrics_too(tmp_path: Path) -> None:
    with keeping_in(tmp_path) as made:
        publish(made.channel, 1, 3)
        made.give()
        made.second()
        stats = TransportStats(url="rings://x", rings=(made.ring,))
        families = {name: list(samples) for name, _, _, samples in _of_rings((stats,))}
    assert [value for _, value in families["rings_trades"]] == [3]
    assert [value for _, value in families["rings_written"]] == [True]
    (shown, _) = families["rings_receive_to_write_max_seconds"][0]
    assert shown == '{channel="test",ring="test_trade_chunk0"}'


async def test_a_disk_that_hangs_holds_up_nobody_and_what_the_log_drops_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel, real, mended = new_channel(log_bytes=64 * 1024), os.pwrite, threading.Event()

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        assert mended.wait(20)
        return real(fd, data, offset)

    by = ConsolidateTransport(config(tmp_path, data_bytes=8 * MIB))
    for limit in ("MAX_BACKLOG_BYTES", "TAKEN_BYTES"):
        monkeypatch.setattr(f"fanout.transports.consolidate.transport.{limit}", 4_000)
    async with serving(channel, by):
        monkeypatch.setattr(os, "pwrite", pwrite)
        for first in range(0, 20_000, 500):
            publish(channel, first, 500)
            await trio.sleep(0.003)
        assert by.unread > 0.5
        assert not by.stats().rings[0].trades
        mended.set()
    (ring,) = by.stats().rings
    got = ids(tmp_path)
    assert 0 < ring.lost == 20_000 - len(got)
    assert "the rings of test lost" in caplog.text


async def test_a_disk_that_hangs_holds_up_the_end_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel, mended = new_channel(), threading.Event()
    monkeypatch.setattr("fanout.transports.consolidate.transport.LAST_S", 0.01)
    by = ConsolidateTransport(config(tmp_path))
    async with serving(channel, by):
        monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: mended.wait(20) and len(data))
        publish(channel, 1)
    assert "the disk hangs" in caplog.text
    mended.set()
    while by._worker.is_running:  # noqa: ASYNC110  a thread
        await trio.sleep(0.001)


def test_a_record_that_no_trade_is_in_and_a_trade_that_was_back_filled_do_no_harm(
    tmp_path: Path,
) -> None:
    packed = PackedRing(MIB, MIB // 256)
    packed.append(b"{}")
    packed.append(b"{}", kind=0)
    packed.write(tmp_path, "test_trade_chunk0")
    with keeping_in(tmp_path) as made:
        assert made.ring.dedupe_size == 0
        made.channel.publish(
            [Trade(BTC, 1, 5, 6, 7, False)],
            received_ns=1,
            held_ns=1,
            flags=BlockFlags.BACK_FILLED,
        )
        made.give()
        made.second()
        assert (made.ring.seq, made.rows[0]["exchange_to_recv_ms_avg"]) == (3, "")


def test_a_fault_of_ours_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with keeping_in(tmp_path) as made:
        made.channel.relay(frame(b"\x10garbage"), 1)
        publish(made.channel, 2)
        made.worker.start()
        made.give()
        made.worker._queue.put(("no channel", None))  # type: ignore[arg-type]
        publish(made.channel, 3)
        made.give()
        made.worker.stop()
        made.worker._thread.join(10)  # type: ignore[union-attr]
        assert made.kept.lost == 1
    assert caplog.text.count("an internal fault in consolidate") == 2
    assert ids(tmp_path) == [2, 3]


def test_a_ring_of_another_writer_with_few_slots_is_written(tmp_path: Path) -> None:
    PackedRing(MIB, 16).write(tmp_path, "test_trade_chunk0")
    with keeping_in(tmp_path) as made:
        publish(made.channel, 1, 100)
        made.give()
        assert (made.ring.why, made.ring.seq, made.ring.lost) == ("", 100, 0)
    assert ids(tmp_path)[-8:] == list(range(93, 101))


def test_a_trade_that_has_no_room_is_lost_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with keeping_in(tmp_path) as made:
        monkeypatch.setattr("fanout.protocol.consolidated.MARGIN_BYTES", 100)
        publish(made.channel, 1)
        made.give()
        assert (made.ring.lost, made.ring.waiting) == (1, 0)
        assert "bytes has no room in 1,048,576" in made.ring.why
        monkeypatch.undo()
        publish(made.channel, 2)
        made.second()
        made.give()
        assert made.ring.why == ""
    assert ids(tmp_path) == [2]


def test_a_fault_of_ours_in_writing_is_logged_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with keeping_in(tmp_path) as made:
        with monkeypatch.context() as patched:
            patched.setattr(OwnedRing, "append", lambda *_: 1 / 0)
            publish(made.channel, 1)
            made.give()
            made.second()
            made.second()
            assert made.ring.why == "division by zero"
            assert caplog.text.count("Traceback") == 1
            assert len(made.rows) == 2
        made.second()
        assert "goes on; 0 records were lost" in caplog.text
    assert ids(tmp_path) == [1]


def test_the_thread_ends_though_the_end_of_a_second_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with keeping_in(tmp_path) as made:
        monkeypatch.setattr(MetricsFile, "write", lambda *_: 1 / 0)
        made.worker.start()
        made.worker.stop()
        made.worker._thread.join(10)  # type: ignore[union-attr]
        assert not made.worker.is_running
    assert caplog.text.count("an internal fault in consolidate") == 1


async def test_a_disk_that_hangs_with_a_backlog_holds_up_the_end_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel, mended = new_channel(), threading.Event()
    monkeypatch.setattr("fanout.transports.consolidate.transport.LAST_S", 0.05)
    by = ConsolidateTransport(config(tmp_path))
    for limit in ("MAX_BACKLOG_BYTES", "TAKEN_BYTES"):
        monkeypatch.setattr(f"fanout.transports.consolidate.transport.{limit}", 4_000)
    with trio.fail_after(20):
        async with serving(channel, by):
            real = os.pread
            monkeypatch.setattr(os, "pread", lambda *of: real(*of) if mended.wait(20) else b"")
            publish(channel, 1, 10_000)
    assert "the disk hangs" in caplog.text
    mended.set()
    while by._worker.is_running:  # noqa: ASYNC110  a thread
        await trio.sleep(0.001)


async def test_a_channel_that_is_slower_than_its_log_is_long_loses_what_is_told(
    tmp_path: Path,
) -> None:
    channel = new_channel(log_bytes=64 * 1024)
    by = ConsolidateTransport(config(tmp_path, data_bytes=8 * MIB))
    async with serving(channel, by):
        assert by.unread == 0
        for first in range(0, 20_000, 500):
            publish(channel, first, 500)
        assert by.unread > 0.5
    (ring,) = by.stats().rings
    got = ids(tmp_path)
    assert ring.lost == 20_000 - len(got) > 0
    assert got == list(range(20_000 - len(got), 20_000))
    assert by.stats().lost == ring.lost
    assert by.troubles("test") == []
