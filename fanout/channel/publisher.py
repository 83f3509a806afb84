"""The single writer: records in, numbered frames in the log out.

One read of the venue's socket becomes one block (several if events stand between the trades, or if
there are more trades than a block holds). A block is encoded once for all readers. The publisher
also makes the greeting and the snapshot of a reader that joins.

A snapshot never runs ahead of the stream. REST and the stream are separate paths, so a trade that
REST has shown (a *seed*) may still come on the stream. At an instrument's beginning a seed stands
in the snapshot, since nothing else is known of it. Once a reader has had it there, the channel
begins behind it: trades up to the seed that the stream then brings precede the beginning, and are
left out. In mid-stream nothing may be left out any more. When REST is asked again there, only a
seed that the stream has passed stands in the snapshot.
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
        self._seeds: dict[int, Trade] = {}
        self._shown: dict[int, Trade] = {}  # seeds that readers have had, and no trade since
        self._streamed_ids: dict[int, int] = {}  # newest of each instrument that began
        self.preceding = 0
        """How many trades were left out because they precede the instrument's beginning."""
        self.trades = 0
        self.blocks = 0
        self.events = 0

    def seed(self, trades: Sequence[Trade]) -> None:
        """Give the newest trade that REST has of each instrument, for readers that join before the
        next one. A seed that the stream has not reached in mid-stream is not used."""
        for trade in trades:
            index = trade.instrument.index
            if trade.trade_id <= self._streamed_ids.get(index, trade.trade_id):
                self._seeds[index] = trade

    def publish(
        self,
        records: Sequence[Trade | Gap],
        *,
        received_ns: int,
        held_ns: int,
        flags: BlockFlags = BlockFlags.NONE,
    ) -> None:
        """Publish what one read brought, in its order. The `why` of a gap is cut to what fits."""
        if self._shown and BlockFlags.BACK_FILLED not in flags:
            records = [each for each in records if self._is_begun(each)]
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

    def _is_begun(self, record: Trade | Gap) -> bool:
        """Whether a trade follows the seed that readers have had of its instrument. Ids that start
        anew do: their times are later."""
        seed = self._shown.get(record.instrument.index)
        if seed is None or isinstance(record, Gap):
            return True
        if record.trade_id <= seed.trade_id and record.time_ms <= seed.time_ms:
            self.preceding += 1
            return False
        del self._shown[record.instrument.index]
        return True

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
        # A price in the old unit means nothing in the new one, so the snapshot starts empty.
        self._streamed_ids |= {index: each.trade_id for index, each in self._newest.items()}
        self._newest.clear()
        self._seeds.clear()
        self._shown.clear()
        self.log.append(frame(encode_header(self._header)), count=0)

    def greeting(self) -> bytes:
        """What a reader gets first, whoever it is: START, and the header of one that begins at the
        log's end."""
        header = msgspec.structs.replace(self._header, next_seq=self.log.next_seq)
        return frame(START) + frame(encode_header(header))

    def snapshot(self) -> bytes:
        """The newest trade of each instrument, for a reader that begins at the log's end. Empty if
        there is none."""
        newest = self._seeds | self._newest
        self._shown = {i: each for i, each in self._seeds.items() if i not in self._newest}
        if not newest:
            return b""
        snapshot = Block(
            first_seq=self.log.next_seq,
            trades=[newest[index] for index in sorted(newest)],
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
