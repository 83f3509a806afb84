from struct import unpack

from msgspec.structs import replace

from fanout.protocol import BlockFlags, Trade, encode_block
from fanout.protocol.rows import FIELDS, ROW, ROW_BYTES, rows_of
from tests.protocol.golden import HEADER, SNAPSHOT, TRADES


def test_a_row_has_every_field_of_a_trade() -> None:
    assert sorted(each.name for each in FIELDS) == sorted(Trade.__struct_fields__)


def test_a_row_has_the_published_layout() -> None:
    block = replace(TRADES, trades=TRADES.trades[2:], flags=BlockFlags.BACK_FILLED)
    row = rows_of([encode_block(block, HEADER)], HEADER)
    drawn = (1_001, 52_003, 1_791_382_992_839, 12_300, 70, 1_791_382_992_840_123_456)
    assert unpack("<6QH3B3s", row) == (*drawn, 1, 1, 0, 1, bytes(3))


def test_there_is_a_row_for_each_trade_in_their_order() -> None:
    later = replace(TRADES, first_seq=2_001, trades=[replace(TRADES.trades[1], price=-1)])
    payloads = [encode_block(each, HEADER) for each in (TRADES, SNAPSHOT, later)]
    rows = [*ROW.iter_unpack(rows_of(iter(payloads), HEADER))]
    assert ROW_BYTES == 56
    assert [row[0] for row in rows] == [1_001, 1_002, 1_003, 0, 2_001]
    assert [row[3] for row in rows] == [8_309_170, 8_309_160, 12_300, 8_309_170, -1]
    assert [row[6:] for row in rows] == [
        (0, 0, 0, 0),
        (0, 0, 1, 0),
        (1, 1, 0, 0),
        (0, 0, 0, 0),
        (0, 0, 1, 0),
    ]


def test_no_blocks_give_no_rows() -> None:
    assert rows_of([], HEADER) == bytearray()
