"""Joining a stream in its middle: where the numbering stands at a frame, and beginning within one.

A reader of TCP joins with a header made for it. One that attaches to a queue finds frames that
were written before it came, and makes its own: with the number from which the first of them goes
on, neither one that it was never due nor one too late. One that asks for a number in the middle of
a block gets the rest of that block as a block of its own.
"""

from msgspec.structs import replace

from fanout.protocol.block import decode_block, encode_block
from fanout.protocol.constants import FrameKind
from fanout.protocol.events import decode_event
from fanout.protocol.header import decode_header
from fanout.protocol.records import End, Gap, Header, Heartbeat, Loss, Status


def first_seq(payload: bytes, header: Header) -> int | None:
    """The number of the first trade or event in a payload, or the one that comes next where it
    has none of its own. None if its kind is not known. Raises `PeerError`."""
    if payload[0] == FrameKind.TRADES:
        return decode_block(payload, header).first_seq
    if payload[0] == FrameKind.HEADER:
        return decode_header(payload).next_seq
    if payload[0] not in FrameKind._value2member_map_:
        return None
    match decode_event(payload, header):
        case Status(seq=seq) | Gap(seq=seq) | Loss(first_seq=seq) | Heartbeat(next_seq=seq):
            return seq
        case End(last_seq=last_seq):  # pragma: no branch  the fifth of five
            return last_seq + 1


def block_from(payload: bytes, seq: int, header: Header) -> bytes:
    """The payload of a block with the trades from sequence number `seq` on, of one that holds it.
    Raises `PeerError` for a payload that is no block."""
    block = decode_block(payload, header)
    trades = block.trades[seq - block.first_seq :]
    return encode_block(replace(block, first_seq=seq, trades=trades), header)
