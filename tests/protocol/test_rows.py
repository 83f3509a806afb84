from struct import unpack

from msgspec.structs import replace

from fanout.protocol import BlockFlags, Trade, encode_block, frame
from fanout.protocol.framing import seal, unseal
from fanout.protocol.rows import FIELDS, ROW, ROW_BYTES, rows_at, rows_of
from fanout.protocol.speedups import PLAIN
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


LATER = encode_block(replace(TRADES, first_seq=1_004), HEADER)
BLOCKS = frame(encode_block(TRADES, HEADER)) + frame(LATER)


def at(frames: bytes, offset: int = 0, next_seq: int = 1_001) -> tuple[bytearray, int, int]:
    """What both functions give, which is the same."""
    found = rows_at(frames, offset, next_seq, HEADER)
    assert found == PLAIN[rows_at.__name__](frames, offset, next_seq, HEADER)
    return found


def test_blocks_that_follow_each_other_are_read_together() -> None:
    rows, behind, blocks = at(BLOCKS)
    assert rows == rows_of([encode_block(TRADES, HEADER), LATER], HEADER)
    assert (behind, blocks) == (len(BLOCKS), 2)
    half = len(BLOCKS) // 2
    assert at(BLOCKS, half, 1_004) == (rows[len(rows) // 2 :], len(BLOCKS), 1)
    assert at(BLOCKS, len(BLOCKS), 1_007) == (b"", len(BLOCKS), 0)


def test_they_end_before_every_other_frame() -> None:
    half = len(BLOCKS) // 2
    damaged = bytearray(LATER)
    damaged[-5] ^= 1
    for other in (
        b"",
        b"\0",
        bytes(5),
        frame(LATER)[:-1],
        frame(bytes(damaged)),
        frame(seal(unseal(LATER)[:-1])),
        frame(seal(b"\x10" + bytes(30))),
        frame(seal(b"\x23" + bytes(16))),
        frame(encode_block(SNAPSHOT, HEADER)),
        frame(encode_block(replace(TRADES, first_seq=1_005), HEADER)),
        b"\1\0\1\0" + bytes(65_537),
    ):
        _, behind, blocks = at(BLOCKS[:half] + other)
        assert (behind, blocks) == (half, 1)


def test_what_c_does_not_take_is_left_to_the_plain_function() -> None:
    strange = replace(HEADER, references=(replace(HEADER.references[0], price=True),) * 2)
    assert rows_at(BLOCKS, 0, 1_001, strange) == PLAIN["rows_at"](BLOCKS, 0, 1_001, strange)
    assert at(BLOCKS, 10**6)[1:] == (10**6, 0)
    assert at(BLOCKS, 0, 2**70)[1:] == (0, 0)
