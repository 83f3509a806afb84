"""A channel: one header, one numbering, one log, and the single writer of all three.

Everything downstream of the feed is about channels: a TCP request names one, a queue carries one.
What one read of the venue's socket brought becomes one block (more if there are events between the
trades, records of several kinds, or more of them than a block holds). A block is encoded once,
however many readers there are.
The channel also makes what a joining reader gets first: its greeting and its snapshot. It does no
I/O of its own and starts no task. Each call that publishes ends in `Log.hand_on`, in which
transports take what was published.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from fanout.channel.books import ChannelBooks
from fanout.channel.log import Log
from fanout.channel.memory import Memory, OpenGaps, Remembered, time_ns_of
from fanout.channel.newest import Newest
from fanout.channel.past import Past
from fanout.protocol import (
    START,
    Block,
    BlockFlags,
    DataKinds,
    End,
    EndReason,
    FeedState,
    Gap,
    Header,
    Heartbeat,
    Instrument,
    Reference,
    Status,
    Trade,
    encode_changes,
    encode_event,
    frame,
    opening,
)
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import LENGTH_BYTES, MAX_TEXT_BYTES
from fanout.protocol.encoding import FORMS, LONGEST_BYTES, Form, shorter, snapshots_of
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.header import Opener
from fanout.protocol.text import fitting

_NONE: Final = BlockFlags.NONE
"""A name of its own, since an enumeration's members are slow to look up."""


Published = Trade | Gap | Quote | BookUpdate | OrderUpdate | FeatureRow
"""What a feed, or a consumer that has a channel of its own, gives that to number."""


class Channel:
    """Numbers records, encodes them and appends them to `log`. Nobody else writes to `log`."""

    def __init__(
        self,
        header: Header,
        *,
        log_bytes: int,
        wall_ns: Callable[[], int],
        past: Past | None = None,
        longest_frame_bytes: int = LONGEST_BYTES,
    ) -> None:
        """`log_bytes` is what the log may take in memory. `wall_ns` gives unix ns.

        `longest_frame_bytes` is for a transport that cannot carry longer frames. It limits blocks,
        whole books and, in mid-stream, instruments, their length included. Frames that are relayed
        stay as they are.
        """
        self.past = past
        """What is kept of the time before the log, None where nothing is."""
        self.log = Log(capacity_bytes=log_bytes, context=header, first_seq=header.next_seq)
        self.header = header
        """The header in force: instruments, units and references of what is published next."""
        self._wall_ns = wall_ns
        self._newest = Newest()
        before = past.memory if past else None
        self._inherited = before.without_recent() if before else None
        """What was known before this start. It counts for symbols without a trade since."""
        self._gaps = OpenGaps(self._inherited)
        self._since_ns: dict[str, int] = {}
        """Times of the trades that `memory` saw first, of symbols without an earlier start."""
        self._opener = Opener()
        self.longest_frame_bytes = longest_frame_bytes
        self._longest_payload_bytes = longest_frame_bytes - LENGTH_BYTES
        self.books = ChannelBooks(
            by_order=DataKinds.BOOK_BY_ORDER in header.data, longest_bytes=longest_frame_bytes
        )
        self._quotes: dict[int, Quote] = {}
        """The newest quote of each instrument, by index."""
        self._rows: dict[int, FeatureRow] = {}
        """The newest row of features of each instrument, by index."""
        self.trades = 0
        self.quotes = 0
        self.rows = 0
        self.book_updates = 0
        self.blocks = 0
        self.events = 0

    @property
    def name(self) -> str:
        """What readers ask for. The venue's name, where the header names no channel."""
        return self.header.channel or self.header.venue

    def seed(self, trades: Sequence[Trade]) -> None:
        """Give the newest trade that REST has of each instrument, for readers that join before the
        stream's next one."""
        self._newest.seed(trades)

    def recall(self, trades: Sequence[Trade]) -> None:
        """Give the newest trades of an earlier start. They are shown in place of seeds, and nothing
        of the stream is left out because of them."""
        self._newest.recall(trades)

    def memory(self) -> Memory:
        """What the next start has to know of the trades so far. Takes some microseconds for each
        instrument."""
        before = self._inherited.symbols if self._inherited else {}
        symbols = dict[str, Remembered]()
        for each in self.header.instruments:
            known = self._remembered(each, before.get(each.symbol))
            if known is not None:
                symbols[each.symbol] = known
        return Memory(
            epoch_ns=self.header.epoch_ns,
            next_seq=self.log.next_seq,
            time_ns=self._wall_ns(),
            symbols=symbols if self.header.instruments else before,
        )

    def _remembered(self, instrument: Instrument, before: Remembered | None) -> Remembered | None:
        symbol, newest = instrument.symbol, self._newest.of_stream(instrument.index)
        next_id = None if newest is None else newest.trade_id + 1
        if newest is None and before is not None:
            newest = self._newest.recalled(instrument.index) or before.newest
            next_id = before.next_id
        next_id = self._gaps.next_id(symbol, next_id)
        if next_id is None:
            return None
        since_ns = before.since_ns if before is not None else 0
        if newest is not None and not since_ns:
            since_ns = self._since_ns.setdefault(symbol, time_ns_of(newest))
        return Remembered(newest, next_id, self._gaps.of(symbol), since_ns=since_ns)

    @property
    def preceding(self) -> int:
        """How many trades were left out because they precede the instrument's beginning."""
        return self._newest.preceding

    def publish(
        self,
        records: Sequence[Published],
        *,
        received_ns: int,
        held_ns: int,
        flags: BlockFlags = BlockFlags.NONE,
    ) -> None:
        """Publish what one read brought, in its order. Text that is too long for a gap is cut."""
        if self._newest.awaited and _is_live(flags):
            records = self._newest.following(records)
        run: list[Any] = []
        kind: type = Trade
        for record in records:
            if type(record) is kind:
                run.append(record)
                continue
            self._publish_run(kind, run, received_ns, held_ns, flags)
            run, kind = [record], type(record)
            if isinstance(record, Gap):
                run = []
                why = fitting(record.why, MAX_TEXT_BYTES)
                gap = msgspec.structs.replace(record, seq=self.log.next_seq, why=why)
                self._gaps.take(gap)
                self._publish_event(gap)
                kind = Trade
        self._publish_run(kind, run, received_ns, held_ns, flags)
        self.log.hand_on()

    def _publish_run(
        self, kind: type, run: list[Any], received_ns: int, held_ns: int, flags: BlockFlags
    ) -> None:
        """Publish records of one kind."""
        if not run:
            return
        log, form = self.log, FORMS[kind]
        first_seq = log.next_seq
        for records in form.divided(run):
            payload = form.encode(log.next_seq, records, received_ns, held_ns, flags, self.header)
            if len(payload) > self._longest_payload_bytes:
                self._publish_parts(form, records, payload, received_ns, held_ns, flags)
                continue
            log.append(frame(payload), count=len(records), held_ns=held_ns, time_ns=received_ns)
            self.blocks += 1
        count = log.next_seq - first_seq
        if kind is Trade:
            self.trades += count
            if flags is _NONE or _is_live(flags):
                self._newest.streamed(run)
            else:
                self._newest.back_filled(run)
        elif kind is Quote:
            self.quotes += count
            self.note_quotes(run)
        elif kind is FeatureRow:
            self.rows += count
            self.note_rows(run)
        else:
            self.book_updates += count
            self.books.changed(run)

    def _publish_parts(
        self,
        form: Form,
        records: list[Any],
        payload: bytes,
        received_ns: int,
        held_ns: int,
        flags: BlockFlags,
    ) -> None:
        """Publish a block that is too long for a transport as several, as far as its records can be
        divided. `payload` is the whole block's."""
        log, whole = self.log, frame(payload)
        parts = shorter(records, len(whole), self.longest_frame_bytes)
        if not parts:
            log.append(whole, count=len(records), held_ns=held_ns, time_ns=received_ns)
            self.blocks += 1
        for each in parts:
            payload = form.encode(log.next_seq, each, received_ns, held_ns, flags, self.header)
            self._publish_parts(form, each, payload, received_ns, held_ns, flags)

    def publish_status(self, instrument: Instrument | None, state: FeedState, why: str) -> None:
        """Publish that an instrument, or the whole feed, changed its state. `why` is cut to what
        fits.

        A reader that joins is not told the states. So it gets the book of an instrument only while
        that is LIVE. If a reader was refused a book, the whole book is published once the
        instrument is LIVE again.
        """
        if self.has_books:
            self._withhold_or_release(instrument, state)
        status = Status(
            seq=self.log.next_seq,
            instrument=instrument,
            state=state,
            since_ns=self._wall_ns(),
            why=fitting(why, MAX_TEXT_BYTES),
        )
        self._publish_event(status)
        self.log.hand_on()

    def _withhold_or_release(self, instrument: Instrument | None, state: FeedState) -> None:
        if state is not FeedState.LIVE:
            self.books.withhold(instrument)
        elif instrument is not None:
            whole = self.books.release(instrument.index)
            if whole:
                self._publish_run(type(whole[0]), whole, self._wall_ns(), 0, _NONE)

    def _publish_event(self, event: Status | Gap) -> None:
        time_ns = event.since_ns if isinstance(event, Status) else 0
        self.log.append(frame(encode_event(event)), count=1, time_ns=time_ns)
        self.events += 1

    def change(self, instruments: Sequence[Instrument], references: Sequence[Reference]) -> None:
        """Add instruments, or change units and references of some, from the next record on.

        `references[i]` belongs to `instruments[i]`. An instrument replaces the one with its index;
        the index behind the last one adds it. An index keeps its symbol. Present readers get
        INSTRUMENTS, and later ones a header with them.
        """
        self._forget_units(instruments)
        changed = _changed(self.header, self.log.next_seq, instruments, references)
        changes = encode_changes(self.header, changed, max_bytes=self._longest_payload_bytes)
        if changes:
            self.header = self.log.context = changed
            self.log.append(b"".join(map(frame, changes)), count=0)
            self.log.hand_on()

    def _forget_units(self, instruments: Sequence[Instrument]) -> None:
        """Forget what is known of those instruments that have other units than before."""
        known = self.header.instruments
        for each in instruments:
            if each.index < len(known) and units_of(known[each.index]) != units_of(each):
                self._newest.forget(each.index)
                self._quotes.pop(each.index, None)
                self._rows.pop(each.index, None)
                self.books.forget(each.index)

    # What `fanout.channel.relay` does in place of a feed.

    def relay(self, frames: bytes, count: int, *, time_ns: int = 0) -> None:
        """Append frames that were made elsewhere and take that many of the next numbers. `time_ns`
        is the time that stands in them, unix ns, 0 if none does."""
        self.log.append(frames, count=count, time_ns=time_ns)
        self.log.hand_on()

    def relay_change(self, changed: Header, frames: bytes) -> None:
        """Change the header by frames that were made elsewhere: see `change`."""
        self._forget_units(changed.instruments)
        self.header = msgspec.structs.replace(changed, next_seq=self.log.next_seq)
        self.log.context = self.header
        self.log.append(frames, count=0)
        self.log.hand_on()

    def note_trades(self, block: Block) -> None:
        """Note trades of a block for readers that join."""
        if block.flags is _NONE or _is_live(block.flags):
            self._newest.streamed(block.trades)

    def note_quotes(self, quotes: Sequence[Quote]) -> None:
        """Note quotes for readers that join."""
        self._quotes.update([(each.instrument.index, each) for each in quotes])

    def note_rows(self, rows: Sequence[FeatureRow]) -> None:
        """Note rows of features for readers that join."""
        self._rows.update([(each.instrument.index, each) for each in rows])

    def forget_states(self) -> None:
        """Show readers that join no quotes and no rows: newer ones were lost."""
        self._quotes.clear()
        self._rows.clear()

    def begin_here(self) -> None:
        """Begin the log anew at the next number, before there are readers."""
        capacity_bytes, first_seq = self.log.capacity_bytes, self.log.next_seq
        self.log = Log(capacity_bytes=capacity_bytes, context=self.header, first_seq=first_seq)

    def greeting(self) -> bytes:
        """START, the header and its instruments, for a reader that begins at the log's end. Every
        connection begins with them."""
        header = msgspec.structs.replace(self.header, next_seq=self.log.next_seq)
        return frame(START) + self._opener(header)

    def snapshot(self) -> bytes:
        """The newest trade, quote and row of each instrument, for a reader that begins at the log's
        end. Empty if there is none. Whole books are in `books`."""
        trades = self._newest.shown()
        if not trades:
            return self.state_snapshot()
        return self.snapshot_of(Trade, trades) + self.state_snapshot()

    def state_snapshot(self) -> bytes:
        """The newest quotes and rows, for a reader that goes on at the log's end. Empty if there
        are none."""
        return b"".join(
            self.snapshot_of(kind, list(newest.values()))
            for kind, newest in ((Quote, self._quotes), (FeatureRow, self._rows))
            if newest
        )

    def snapshot_of(self, kind: type, records: list[Any]) -> bytes:
        """Records of one kind as frames without numbers."""
        return b"".join(
            snapshots_of(kind, each, self.log.next_seq, self.header, self.longest_frame_bytes)
            for each in FORMS[kind].divided(records)
        )

    @property
    def has_books(self) -> bool:
        return self.header.has_books

    def heartbeat(self, time_ns: int) -> bytes:
        """A framed HEARTBEAT for readers that have everything. `time_ns` is unix ns."""
        return frame(encode_event(Heartbeat(next_seq=self.log.next_seq, time_ns=time_ns)))

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> None:
        """Publish the END for all readers, and close the log."""
        end = End(
            reason=reason,
            last_seq=self.log.next_seq - 1,
            retry_ms=retry_ms,
            why=fitting(why, MAX_TEXT_BYTES),
        )
        self.log.append(frame(encode_event(end)), count=0)
        self.log.close()


def units_of(instrument: Instrument) -> tuple[int, int, int]:
    """The exponents of its prices, quantities and times."""
    return (instrument.price_exponent, instrument.quantity_exponent, instrument.time_exponent)


def _changed(
    header: Header,
    next_seq: int,
    instruments: Sequence[Instrument],
    references: Sequence[Reference],
) -> Header:
    entries = dict(enumerate(zip(header.instruments, header.references, strict=True)))
    for instrument, reference in zip(instruments, references, strict=True):
        assert instrument.index <= len(entries), "instruments are added one behind the other"
        entries[instrument.index] = (instrument, reference)
    return msgspec.structs.replace(
        header,
        next_seq=next_seq,
        instruments=tuple(instrument for instrument, _ in entries.values()),
        references=tuple(reference for _, reference in entries.values()),
    )


def _is_live(flags: BlockFlags) -> bool:
    """Whether a block brings what came in its turn."""
    return BlockFlags.BACK_FILLED not in flags


def framed(header: Header) -> bytes:
    """The frames that give a reader a header and all its instruments."""
    return opening(header)
