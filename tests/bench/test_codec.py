"""The stage `codec`: every way is measured, and has to give back what it was given."""

import sys
from collections.abc import Sequence

import msgspec
import pytest

from fanout.protocol import Header, Reference, Trade
from tests.bench import codec
from tests.bench.codec_rivals.records import WAYS as RECORDS
from tests.bench.codec_rivals.way import BTCUSDT, INSTRUMENTS
from tests.bench.report import Absent, Row, why_absent

HEADER = Header(
    epoch_ns=1,
    next_seq=1,
    venue="binance-usdm",
    instruments=INSTRUMENTS,
    references=(Reference(price=6_000_000, quantity=1, trade_id=5_266_583_934, time=0),),
)
TRADES = [
    Trade(
        BTCUSDT,
        5_266_583_935 + place,
        1_723_161_256_322 + place,
        6_180_030 - place,
        6,
        bool(place % 2),
        received_ns=1_723_161_255_088_176_367,
    )
    for place in range(20)
]


@pytest.fixture
def few_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "SMALL_TRADES", 512)


def names_of(rows: Sequence[Row | Absent]) -> list[str]:
    return [each.name for each in rows if isinstance(each, Row)]


@pytest.mark.usefixtures("few_trades")
def test_every_way_is_measured_in_each_direction_and_size() -> None:
    rows = codec.run(small=True)
    there = [name for name, needs in codec.RIVALS.items() if not why_absent(needs)]
    names = names_of(rows)
    for way in [*codec.ours(HEADER), *codec.rivals(there)]:
        for direction in way.shows:
            for size in codec.SIZES:
                assert f"{direction}, blocks of {size}: {way.name}" in names


@pytest.mark.usefixtures("few_trades")
def test_a_rival_that_is_missing_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "databento_dbn", None)
    rows = codec.run(small=True)
    assert Absent("dbn", "pip install databento-dbn") in rows
    assert not [each for each in names_of(rows) if "databento" in each]


@pytest.mark.parametrize("direction", codec.DIRECTIONS)
@pytest.mark.parametrize("size", [1, 3, 20])
def test_what_comes_back_is_what_was_given(direction: str, size: int) -> None:
    there = [name for name, needs in codec.RIVALS.items() if not why_absent(needs)]
    blocks = codec.blocks_of(TRADES, size)
    assert sum(len(each.trades) for each in blocks) == 20 // size * size
    for way in [*codec.ours(HEADER), *codec.rivals(there)]:
        function, inputs, beside = codec.prepared(way, direction, blocks)
        assert function is (way.encode if direction == "encode" else way.decode)
        assert len(inputs) == len(blocks)
        assert beside == way.beside


def test_a_way_that_loses_or_changes_a_trade_fails_the_stage() -> None:
    way = RECORDS[0]
    blocks = codec.blocks_of(TRADES, 4)
    loses = msgspec.structs.replace(way, decode=lambda data: way.decode(data)[1:])
    changes = msgspec.structs.replace(way, encode=lambda block: way.encode(blocks[0]))
    for each in (loses, changes):
        with pytest.raises(ValueError, match="struct changes trades"):
            codec.prepared(each, "encode", blocks)


def test_what_is_missing_is_said_with_how_to_get_it() -> None:
    needs = {"json": "no way", "no_such": "pip install it", "no_such.part": "pip install that"}
    assert why_absent(needs) == "pip install it, pip install that"
