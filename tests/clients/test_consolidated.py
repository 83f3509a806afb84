"""The client of a directory of rings: each number of each ring, or why not."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanout.clients.consolidated import (
    Consolidated,
    ConsolidatedClient,
    ConsolidatedTrade,
    Missed,
    OtherRecord,
    RingFault,
    RingOpened,
    RingsError,
    Start,
    Wanted,
    Why,
)
from fanout.clients.outcomes import AddressError
from fanout.protocol.consolidated_trade import decode_trade
from tests.stand.packed_ring import PackedRing, payload_of


class StopError(Exception):
    """Raised in place of a pause."""


def stop(pause_s: float) -> None:
    raise StopError


@pytest.fixture
def packed() -> PackedRing:
    made = PackedRing()
    for number in (1, 2, 3):
        made.trade(number)
    return made


@pytest.fixture
def folder(packed: PackedRing, tmp_path: Path) -> Path:
    return packed.write(tmp_path / "rings")


@pytest.fixture
def client(folder: Path) -> Iterator[ConsolidatedClient]:
    with ConsolidatedClient(f"rings://{folder}", start=Start.OLDEST, sleep=stop) as made:
        yield made


def ids(found: list[Consolidated]) -> list[int | str]:
    return [each.exchange_trade_id for each in found if isinstance(each, ConsolidatedTrade)]


def test_it_reads_what_an_independent_writer_packed(client: ConsolidatedClient) -> None:
    opened, *trades = client.poll()
    assert opened == RingOpened(
        ring="x_trade_chunk0", oldest_seq=1, newest_seq=3, next_seq=1, is_short=False
    )
    assert ids(trades) == [1, 2, 3]
    first = trades[0]
    assert isinstance(first, ConsolidatedTrade)
    assert (first.exchange, first.asset, first.kind) == ("DERIBIT", "BTC-PERPETUAL", "Perpetual")
    assert (first.px, first.sz, first.side) == ("102049.5", "1280.0", "Sell")
    assert client.counts["x_trade_chunk0"].trades == 3


def test_it_follows_and_waits_between_two_looks(
    client: ConsolidatedClient, packed: PackedRing, folder: Path
) -> None:
    reading = iter(client)
    assert isinstance(next(reading), RingOpened)
    assert ids([next(reading) for _ in range(3)]) == [1, 2, 3]
    with pytest.raises(StopError):
        next(reading)
    assert client.is_idle
    packed.trade(4)
    packed.write(folder)
    assert ids(client.poll()) == [4]
    assert not client.is_idle


def test_it_begins_live_unless_told_otherwise(folder: Path, packed: PackedRing) -> None:
    with ConsolidatedClient(str(folder)) as client:
        (opened,) = client.poll()
        assert isinstance(opened, RingOpened)
        assert (opened.oldest_seq, opened.next_seq) == (1, 4)
        packed.trade(4)
        packed.write(folder)
        assert ids(client.poll()) == [4]


def test_without_following_it_ends_with_what_was_there(folder: Path, packed: PackedRing) -> None:
    client = ConsolidatedClient(str(folder), start=Start.OLDEST, follow=False, sleep=stop)
    looks = client.looks()
    assert ids(next(looks)) == [1, 2, 3]
    packed.trade(4)
    packed.write(folder)
    packed.write(folder, "y_trade_chunk0")
    assert [each for found in looks for each in found] == []
    client.close()


def test_only_what_is_wanted_is_handed_over(folder: Path, packed: PackedRing) -> None:
    packed.trade(4, asset="ETH-PERPETUAL")
    packed.trade(5, exchange="OKX", asset="ETH-PERPETUAL")
    packed.write(folder)
    client = ConsolidatedClient(
        str(folder),
        start=Start.OLDEST,
        symbols=["ETH-PERPETUAL"],
        exchanges=["OKX"],
        follow=False,
    )
    with client:
        assert ids(list(client)) == [5]
        assert client.counts["x_trade_chunk0"].trades == 5
    assert Wanted().has(TRADE)
    assert not Wanted(exchanges=frozenset({"Y"})).has(TRADE)


TRADE = decode_trade(payload_of(1))


def test_what_cannot_be_read_is_handed_over_too(
    client: ConsolidatedClient, packed: PackedRing, folder: Path
) -> None:
    packed.damage(packed.trade(4) + 30)
    packed.append(b"{}", kind=0)
    packed.append(payload_of(6, side="?"))
    packed.trade(7)
    packed.write(folder)
    _, *found = client.poll()
    assert ids(found) == [1, 2, 3, 7]
    damaged, book, other = [each for each in found if not isinstance(each, ConsolidatedTrade)]
    assert isinstance(damaged, Missed)
    assert (damaged.first_seq, damaged.count, damaged.why) == (4, 1, Why.DAMAGED)
    assert book == OtherRecord(ring="x_trade_chunk0", seq=5, kind=0)
    assert isinstance(other, Missed)
    assert (other.last_seq, other.why) == (6, Why.OTHER)
    counts = client.counts["x_trade_chunk0"]
    assert (counts.trades, counts.others, counts.faults) == (4, 1, 2)
    assert (counts.first_seq, counts.last_seq) == (1, 7)


def test_a_ring_says_how_far_its_index_goes_back(folder: Path) -> None:
    packed = PackedRing(2**17, 16)
    for number in range(100):
        packed.trade(number)
    packed.write(folder, "y_trade_chunk0")
    with ConsolidatedClient(str(folder)) as client:
        _, opened = client.poll()
    assert isinstance(opened, RingOpened)
    assert (opened.oldest_seq, opened.newest_seq, opened.is_short) == (85, 100, True)


def test_a_ring_that_is_new_is_read_from_its_first_record_on(
    folder: Path, packed: PackedRing
) -> None:
    with ConsolidatedClient(str(folder)) as client:
        assert ids(client.poll()) == []
        packed.write(folder, "y_trade_chunk0")
        assert ids(client.poll()) == [1, 2, 3]


def test_a_ring_that_cannot_be_read_is_told_once_and_tried_again(
    folder: Path, packed: PackedRing, client: ConsolidatedClient
) -> None:
    (folder / "x_trade_chunk0.data").unlink()
    (fault,) = client.poll()
    assert fault == RingFault(ring="x_trade_chunk0", why="no such file or directory")
    assert client.poll() == []
    (folder / "x_trade_chunk0.data").write_bytes(b"short")
    (fault,) = client.poll()
    assert isinstance(fault, RingFault)
    assert "8,192 bytes" in fault.why
    packed.write(folder)
    opened, *trades = client.poll()
    assert isinstance(opened, RingOpened)
    assert ids(trades) == [1, 2, 3]


def test_a_ring_that_is_overwritten_is_given_up_and_opened_again(
    folder: Path, packed: PackedRing, client: ConsolidatedClient
) -> None:
    client.poll()
    packed.head(b"NORING\0\0")
    packed.write(folder)
    (fault,) = client.poll()
    assert isinstance(fault, RingFault)
    assert "NORING" in fault.why
    assert client.poll() == []
    packed.head()
    packed.trade(4)
    packed.write(folder)
    opened, *trades = client.poll()
    assert isinstance(opened, RingOpened)
    assert ids(trades) == [4]


@pytest.mark.parametrize(("written", "why"), [(60, Why.LAPPED), (2, Why.ANEW)])
def test_what_a_ring_lost_while_it_could_not_be_read_is_told(
    written: int, why: Why, folder: Path, client: ConsolidatedClient
) -> None:
    """It was written on, or begun anew in the same files."""
    client.poll()
    broken = PackedRing()
    broken.head(b"NORING\0\0")
    broken.write(folder)
    client.poll()
    ring = PackedRing()
    for each in range(1, written + 1):
        ring.trade(each)
    ring.write(folder)
    missed, opened, *trades = client.poll()
    assert isinstance(missed, Missed)
    assert isinstance(opened, RingOpened)
    assert (missed.first_seq, missed.why) == (4, why)
    assert missed.last_seq == (opened.oldest_seq - 1 if why is Why.LAPPED else 3)
    assert ids(trades) == list(range(opened.oldest_seq, written + 1))


def test_a_channel_is_read_alone(folder: Path, packed: PackedRing) -> None:
    packed.trade(4)
    packed.write(folder, "y_trade_chunk0")
    packed.write(folder, "y_trade_chunk1")
    with ConsolidatedClient(f"rings://{folder}/y", start=Start.OLDEST, follow=False) as client:
        assert ids(client.poll()) == [1, 2, 3, 4] * 2
        assert list(client.counts) == ["y_trade_chunk0", "y_trade_chunk1"]
    with pytest.raises(RingsError, match="no such file"):
        ConsolidatedClient(f"rings://{folder}/z").poll()


def test_a_ring_that_is_begun_anew_in_other_files_is_told_and_read_whole(
    folder: Path, packed: PackedRing, client: ConsolidatedClient
) -> None:
    client.poll()
    packed.trade(4)
    packed.write(folder)
    anew = PackedRing()
    anew.trade(100)
    other = anew.write(folder.parent / "aside")
    for path in other.iterdir():
        os.rename(path, folder / path.name)
    assert ids(client.poll()) == [4]
    (missed,) = client.poll()
    assert isinstance(missed, Missed)
    assert (missed.first_seq, missed.count, missed.why) == (5, 0, Why.ANEW)
    opened, *trades = client.poll()
    assert isinstance(opened, RingOpened)
    assert ids(trades) == [100]


def test_a_ring_whose_names_are_gone_may_come_back(
    folder: Path, packed: PackedRing, client: ConsolidatedClient
) -> None:
    client.poll()
    shutil.rmtree(folder)
    assert client.poll() == [RingFault(ring="x_trade_chunk0", why="its files are gone")]
    assert client.poll() == []
    folder.write_text("no directory")
    (fault,) = client.poll()
    assert fault == RingFault(ring="x_trade_chunk0", why="not a directory")
    assert client.poll() == []
    folder.unlink()
    packed.write(folder)
    missed, opened, *trades = client.poll()
    assert (isinstance(missed, Missed) and missed.why, ids(trades)) == (Why.ANEW, [1, 2, 3])
    assert isinstance(opened, RingOpened)


@pytest.mark.parametrize("url", ["", "rings://", "tcp://127.0.0.1:9000", "a\0b"])
def test_what_is_no_directory_is_refused(url: str) -> None:
    with pytest.raises(AddressError, match="no directory of rings"):
        ConsolidatedClient(url)


def test_a_directory_without_rings_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".x_trade_chunk0.meta").touch()
    with pytest.raises(RingsError, match=r"it has no file \*.meta"):
        ConsolidatedClient(str(tmp_path)).poll()
    with pytest.raises(RingsError, match="no such file"):
        ConsolidatedClient(str(tmp_path / "none")).poll()
