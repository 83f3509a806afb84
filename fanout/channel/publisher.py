"""The single writer: records in, numbered frames in the log out.

What a read of the venue's socket brought becomes one block (more if there are events between the
trades, or more trades than a block holds), encoded once, whoever reads it. The publisher also
knows what a joining reader is told first.
"""

from collections.abc import Callable, Sequence

import msgspec

from fanout.channel.log import Log
from fanout.protocol import (
    MAX_BLOCK_TRADES,
    START,
    Block,
    BlockFlags,
    End,
    EndReason,
    FeedState,
    Gap,
    Header,
    Instrument,
    Reference,
    Status,
    Trade,
    encode_block,
    encode_event,
    encode_header,
    frame,
)
from fanout.protocol.constants import MAX_TEXT_BYTES
from fanout.protocol.text import fitting


class Publisher:
    """Numbers, encodes, appends. Nobody else writes to `log`."""

    def __init__(self, header: Header, *, log_bytes: int, wall_ns: Callable[[], int]) -> None:
        """`wall_ns` gives unix ns."""
        self.log = Log(capacity_bytes=log_bytes, context=header, first_seq=header.next_seq)
        self._header = header
        self._wall_ns = wall_ns
        self._newest: dict[int, Trade] = {}
        self.trades = 0
        self.blocks = 0
        self.events = 0

    def seed(self, trades: Sequence[Trade]) -> None:
        """Set the newest trade of each instrument, for those who join before the first one."""
        for trade in trades:
            self._newest[trade.instrument.index] = trade

    def publish(
        self,
        records: Sequence[Trade | Gap],
        *,
        received_ns: int,
        held_ns: int,
        flags: BlockFlags = BlockFlags.NONE,
    ) -> None:
        """Publish what one read brought, in its order. The `why` of a gap is cut to what fits."""
        run: list[Trade] = []
        for record in records:
            if isinstance(record, Trade):
                run.append(record)
            else:
                self._publish_run(run, received_ns, held_ns, flags)
                run = []
                why = fitting(record.why, MAX_TEXT_BYTES)
                gap = msgspec.structs.replace(record, seq=self.log.next_seq, why=why)
                self._publish_event(gap)
        self._publish_run(run, received_ns, held_ns, flags)

    def _publish_run(
        self, run: list[Trade], received_ns: int, held_ns: int, flags: BlockFlags
    ) -> None:
        for start in range(0, len(run), MAX_BLOCK_TRADES):
            trades = run[start : start + MAX_BLOCK_TRADES]
            block = Block(
                first_seq=self.log.next_seq,
                trades=trades,
                received_ns=received_ns,
                held_ns=held_ns,
                flags=flags,
            )
            payload = encode_block(block, self._header)
            self.log.append(frame(payload), count=len(trades), held_ns=held_ns)
            self.trades += len(trades)
            self.blocks += 1
            if BlockFlags.BACK_FILLED not in flags:
                for trade in trades:
                    self._newest[trade.instrument.index] = trade

    def publish_status(self, instrument: Instrument | None, state: FeedState, why: str) -> None:
        """Tell readers that an instrument, or the whole feed, changed its state. `why` is cut to
        what fits."""
        status = Status(
            seq=self.log.next_seq,
            instrument=instrument,
            state=state,
            since_ns=self._wall_ns(),
            why=fitting(why, MAX_TEXT_BYTES),
        )
        self._publish_event(status)

    def _publish_event(self, event: Status | Gap) -> None:
        self.log.append(frame(encode_event(event)), count=1)
        self.events += 1

    def renew_header(
        self, instruments: tuple[Instrument, ...], references: tuple[Reference, ...]
    ) -> None:
        """Change units or references, from the next trade on, for those who read now and those
        who join later. The instruments are the same, in the same order."""
        self._header = msgspec.structs.replace(
            self._header,
            next_seq=self.log.next_seq,
            instruments=instruments,
            references=references,
        )
        self.log.context = self._header
        # Numbers of another unit say nothing in this one: what is shown to joiners begins anew.
        self._newest.clear()
        self.log.append(frame(encode_header(self._header)), count=0)

    def greeting(self) -> bytes:
        """What a reader gets first, whoever it is: START, and the header of one that begins at the
        log's end."""
        header = msgspec.structs.replace(self._header, next_seq=self.log.next_seq)
        return frame(START) + frame(encode_header(header))

    def snapshot(self) -> bytes:
        """What a reader that begins at the log's end gets then: the newest trade of each
        instrument. Empty if there is none."""
        if not self._newest:
            return b""
        snapshot = Block(
            first_seq=self.log.next_seq,
            trades=[self._newest[index] for index in sorted(self._newest)],
            received_ns=0,
            flags=BlockFlags.SNAPSHOT,
        )
        return frame(encode_block(snapshot, self._header))

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> None:
        """Say goodbye to all readers, and close the log."""
        end = End(
            reason=reason,
            last_seq=self.log.next_seq - 1,
            retry_ms=retry_ms,
            why=fitting(why, MAX_TEXT_BYTES),
        )
        self.log.append(frame(encode_event(end)), count=0)
        self.log.close()
