"""Packets in the HFTP layout, for receivers that speak no other: one record in each.

It has trades and books by price. It has no header, no heartbeats, no END and no numbers of ours:
receivers count each group's own sequence, and nothing lost can be asked for. Whole books come every
few seconds all the same, as snapshots of that layout. See `fanout.protocol.hftp`.

The sequence goes on by one for each packet, for each record that the layout cannot hold, and for
each number that the log dropped before it was sent. So receivers see every loss as a hole. A hole
may be longer than the loss: quotes and events have numbers, too, and no packets.
"""

import logging
from collections.abc import Iterable, Sequence

from fanout.protocol.block import decode_block
from fanout.protocol.book_block import decode_book
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import FrameKind
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.framing import payloads_of
from fanout.protocol.hftp import packets_of
from fanout.protocol.instruments import with_instruments
from fanout.protocol.records import End, Header, Trade

_LOG = logging.getLogger("fanout")


class HftpLayout:
    """Makes the packets of one channel. The sequence begins at 1."""

    def __init__(self, header: Header, *, exchange: int, packet_bytes: int) -> None:
        """`header` is in force before the first frame. `exchange` stands in each packet."""
        self.left_out = 0
        """Records that the layout cannot hold."""
        self._header = header
        self._exchange = exchange
        self._packet_bytes = packet_bytes
        self._sequence = 1

    def pack(self, frames: bytes, sent_ns: int) -> Sequence[bytes]:
        """A packet for each trade and each update of a book. `sent_ns` is not sent."""
        packets: list[bytes] = []
        for payload in payloads_of(frames):
            if payload[0] == FrameKind.INSTRUMENTS:
                self._header = with_instruments(self._header, payload)
            elif payload[0] == FrameKind.TRADES:
                packets += self._packets(decode_block(payload, self._header).trades)
            elif payload[0] == FrameKind.BOOK:
                packets += self._packets(decode_book(payload, self._header).updates)
        return packets

    def snapshot(self, frames: bytes, sent_ns: int, *, is_last: bool = False) -> Sequence[bytes]:
        """The packets of whole books. The newest trades are left out: receivers would take them for
        new ones."""
        packets: list[bytes] = []
        for payload in payloads_of(frames):
            if payload[0] == FrameKind.BOOK:
                packets += self._packets(decode_book(payload, self._header).updates)
        return packets

    def opening(self, sent_ns: int, *, is_last: bool = False) -> Sequence[bytes]:
        """Nothing: each packet names its symbol."""
        return ()

    def heartbeat(self, sent_ns: int) -> bytes:
        """Nothing."""
        return b""

    def end(self, end: End, sent_ns: int) -> bytes:
        """Nothing."""
        return b""

    def skip(self, first_seq: int, last_seq: int) -> None:
        """These numbers are lost. They leave a hole in the sequence."""
        self._sequence += last_seq + 1 - first_seq

    def _packets(self, records: Iterable[Trade | BookUpdate]) -> list[bytes]:
        packets: list[bytes] = []
        for each in records:
            try:
                made = packets_of(
                    each,
                    sequence=self._sequence,
                    exchange=self._exchange,
                    max_bytes=self._packet_bytes,
                )
            except NotRepresentableError as error:
                if not self.left_out:
                    _LOG.warning("a record has no place in the HFTP layout: %s", error)
                self.left_out += 1
                self._sequence += 1
                continue
            self._sequence += len(made)
            packets += made
        return packets
