"""The stage `depth`: on a few frames, and its promise on the whole recording."""

import gzip
from pathlib import Path

import pytest

from fanout.protocol.speedups import IS_COMPILED
from tests import captures
from tests.bench import depth
from tests.bench.market import recording_of
from tests.bench.report import Row, Unavailable
from tests.captures import capture_path

DEPTH = (
    '{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":2,"T":1723161256298,'
    '"s":"BTCUSDT","U":1,"u":%d,"pu":0,"b":[["61799.50","0.014"],["61800.20","2.507"]],'
    '"a":[["61800.30","3.330"],["61804.60","0.000"]]}}'
)
TICKER = (
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT",'
    '"b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}'
)


@pytest.fixture
def tiny_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three updates and two quotes of them, and a frame of another stream."""
    frames = [DEPTH % 100, TICKER % 101, DEPTH % 105, TICKER % 106, DEPTH % 109]
    frames.append('{"stream":"btcusdt@trade","data":{}}')
    lines = "".join(f"17231612550000000{row:02} {each}\n" for row, each in enumerate(frames))
    (tmp_path / recording_of("BTCUSDT")).write_bytes(gzip.compress(lines.encode()))
    monkeypatch.setattr(captures, "DATA", tmp_path)


@pytest.mark.usefixtures("tiny_capture")
def test_recorded_levels_stand_from_the_best_outwards() -> None:
    books = [each.block for each in depth.update_blocks()]
    assert [(each.first_seq, each.updates[0].update_id) for each in books] == [
        (1, 100),
        (2, 105),
        (3, 109),
    ]
    update = books[0].updates[0]
    assert update.bids == [(6_180_020, 2_507), (6_179_950, 14)]
    assert update.asks == [(6_180_030, 3_330), (6_180_460, 0)]
    (first, _) = [each.block.quotes[0] for each in depth.quote_blocks()]
    assert (first.bid_price, first.bid_quantity) == (6_180_020, 2_507)
    assert (first.ask_price, first.ask_quantity) == (6_180_030, 2_510)


@pytest.mark.usefixtures("tiny_capture")
def test_both_ways_are_measured_in_both_directions() -> None:
    names = [each.name for each in depth.run(small=True) if isinstance(each, Row)]
    ways = ["fanout, plain", *(["fanout, compiled"] if IS_COMPILED else [])]
    assert {f"{direction}: {way}" for direction in ("encode", "decode") for way in ways} <= set(
        names
    )


def test_a_recording_that_is_required_and_missing_skips_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "DATA", tmp_path)
    monkeypatch.setenv("FANOUT_REQUIRE_CAPTURES", "1")
    with pytest.raises(Unavailable, match=r"no capture btcusdt_20240808\.gz"):
        depth.run(small=True)


@pytest.mark.long
def test_the_wire_takes_less_than_a_fifth_of_the_json_on_the_whole_recording() -> None:
    capture_path(recording_of("BTCUSDT"))
    books, quotes = list(depth.update_blocks()), list(depth.quote_blocks())
    header = depth.header_of(books[0].block.updates[0])
    sizes = {row.name: row for row in depth._sizes(books, quotes, header)}
    assert (len(books), depth.levels_in(books), len(quotes)) == (6_551, 443_521, 66_089)
    assert all(row.met for row in sizes.values())
    assert {name: round(row.value, 2) for name, row in sizes.items()} == {
        "fanout, a block an update": 3.78,
        "JSON as received": 23.59,
        "fanout / JSON as received": 0.16,
        "fanout, a block a quote": 47.34,
        "JSON of a quote": 179.14,
    }


def test_without_a_recording_the_wire_takes_less_than_a_fifth_of_the_json_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "DATA", tmp_path)
    monkeypatch.delenv("FANOUT_REQUIRE_CAPTURES", raising=False)
    rows = [each for each in depth.run(small=True) if isinstance(each, Row)]
    (share,) = (each for each in rows if each.name == "fanout / JSON as received")
    assert share.met
