"""What the messages of some symbols become at a reader, without a server."""

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.clients.nats_client import END_OF_BLOCK as END
from fanout.clients.nats_client import Joining, Message, Opened
from fanout.clients.nats_symbols import ReadingOfSymbols, subjects_wanted, tokens_of
from fanout.clients.outcomes import Restarted
from fanout.clients.wanted import Wanted
from fanout.protocol import (
    DataKinds,
    FeedState,
    Loss,
    LossReason,
    Position,
    Quote,
    Snapshot,
    Start,
    Status,
    Trade,
)
from fanout.protocol.framing import frame, seal
from fanout.protocol.jetstream import symbol_token_of
from fanout.protocol.request import Moment
from tests.clients.nats_streams import BOTH, BTC, LIFE, Writer
from tests.clients.test_nats_client import Reader, changed, fetched, next_epoch, seqs

EPOCH_NS = BOTH.epoch_ns
ETH = replace(BTC, index=2, symbol="ETHUSDT")
THREE = replace(
    BOTH,
    instruments=(BTC, LIFE, ETH),
    references=(*BOTH.references, BOTH.references[0]),
    data=DataKinds.TRADES | DataKinds.QUOTES,
)
B, L, E = BTC.symbol, LIFE.symbol, ETH.symbol


class SymbolReader(Reader):
    """A reader to which the messages of its symbols come."""

    def __init__(self, *symbols: str, start: Any = Start.OLDEST, **place: Any) -> None:
        self.tokens = tokens_of(symbols)
        make = partial(ReadingOfSymbols, tokens=self.tokens)
        super().__init__(start, symbols=symbols, make=make, **place)
        self.reading: ReadingOfSymbols

    def take(self, *messages: Any) -> list[Any]:
        return super().take(*[each if self._gets(each) else None for each in messages])

    def _gets(self, message: Any) -> bool:
        if message is None or isinstance(message, Message):
            return True
        return symbol_token_of(message[0]) in {"", "%all", *self.tokens}


def writer() -> Writer:
    return Writer(header=THREE)


def test_the_subjects_are_those_of_the_symbols_and_of_all() -> None:
    assert subjects_wanted("p", "a.b", tokens_of(["A.B", "C"])) == [
        "p.a%2Eb.header",
        "p.a%2Eb.snapshot",
        "p.a%2Eb.records",
        "p.a%2Eb.records.%all",
        "p.a%2Eb.records.A%2EB",
        "p.a%2Eb.records.C",
    ]
    assert subjects_wanted("p", "c", ()) == []


# Nothing is missing.


def test_the_numbers_of_other_symbols_count_as_arrived() -> None:
    reader, its = SymbolReader(L), writer()
    assert seqs(reader.take(*its.head(), *its.divided(B, L, L, B), *its.divided(E, E))) == [2, 3]
    assert seqs(reader.take(*its.head(), *its.divided(B, L, B))) == [8]
    assert (reader.subscription.lost, reader.foreign) == (0, [])
    assert reader.subscription.position == Position(epoch_ns=EPOCH_NS, seq=9)


def test_a_part_of_the_only_symbol_waits_for_no_other() -> None:
    reader, its = SymbolReader(B), writer()
    assert seqs(reader.take(*its.head(), its.divided(B, L, L, B)[0])) == [1, 4]


@pytest.mark.parametrize("what", ["end", "block", "header"])
def test_parts_of_several_symbols_are_handed_on_in_order_as_soon_as_that_is_certain(
    what: str,
) -> None:
    reader, its = SymbolReader(B, L), writer()
    head = its.head()
    parts = its.divided(B, L, B, E, L, B, E)
    assert seqs(reader.take(*head, parts[0])) == [1]
    assert seqs(reader.take(parts[1])) == [2]
    followers: dict[str, Any] = {
        "end": lambda: [END],
        "block": lambda: [None, *its.divided(E, B)],
        "header": lambda: [None, *its.head()],
    }
    records = reader.take(*followers[what]())
    assert seqs(records) == [3, 5, 6, *[9][: what == "block"]]
    assert (reader.subscription.lost, reader.foreign) == (0, [])


def test_the_last_part_of_a_block_ends_it() -> None:
    reader, its = SymbolReader(B, L), writer()
    assert seqs(reader.take(*its.head(), *its.divided(B, L, B, L))) == [1, 2, 3, 4]


def test_events_of_a_symbol_and_of_all_symbols_come() -> None:
    reader, its = SymbolReader(L), writer()
    down = Status(seq=1, instrument=None, state=FeedState.DOWN, since_ns=9)
    lost = Loss(first_seq=3, last_seq=6, reason=LossReason.SLOW)
    records = reader.take(
        *its.head(), its.of_all(down), *its.divided(B), its.of_all(lost, 4), *its.divided(L)
    )
    assert seqs(records) == [1, (3, 6), 7]
    assert records[:2] == [down, lost]


def test_a_stream_that_is_not_divided_is_read_as_well() -> None:
    reader, its = SymbolReader(B), writer()
    assert seqs(reader.take(*its.head(), its.trades(2))) == [1, 2]
    its.trades(2)
    assert seqs(reader.take(None, its.trades(1))) == [(3, 4), 5]
    its.trades(1)
    assert seqs(reader.take(None, *its.head())) == [(6, 6)], "nobody has to wait for a record"


def test_a_stream_may_be_divided_from_some_record_on() -> None:
    reader, its = SymbolReader(B), writer()
    records = reader.take(*its.head(), its.trades(2), *its.divided(L, L), *its.divided(B))
    assert seqs(records) == [1, 2, 5]
    assert reader.subscription.lost == 0


def test_a_position_within_a_block_gets_the_rest_of_it() -> None:
    its = writer()
    head = its.head()
    parts = its.divided(B, L, B, L)
    reader = SymbolReader(B, start=Position(epoch_ns=EPOCH_NS, seq=2))
    assert seqs(reader.take(*head, *parts, *its.divided(B))) == [3, 5]
    assert reader.subscription.lost == 0


def test_a_moment_begins_with_the_number_that_comes() -> None:
    its = writer()
    head = its.head()
    its.divided(B, B, L)
    reader = SymbolReader(L, start=Moment(time_ns=5), epoch_ns=EPOCH_NS, due=4)
    assert seqs(reader.take(fetched(head, 1), None, None, *its.divided(B, L))) == [5]


def test_a_live_reader_of_an_empty_stream_begins_with_its_first_header() -> None:
    reader, its = SymbolReader(L, start=Start.LIVE), writer()
    assert seqs(reader.take(*its.head(), *its.divided(B, L))) == [2]
    assert reader.subscription.lost == 0


def test_messages_before_the_place_to_begin_change_nothing() -> None:
    its = writer()
    head = its.head()
    messages = [*head, *its.divided(B), *its.divided(B)]
    reader = SymbolReader(B, start=Position(epoch_ns=EPOCH_NS, seq=3))
    assert seqs(reader.take(*messages, *its.divided(B))) == [3]
    its.trades(1)
    reader = SymbolReader(B, start=Position(epoch_ns=EPOCH_NS, seq=6))
    own = writer()
    assert seqs(reader.take(*own.head(), own.trades(2), own.trades(3), *own.divided(B))) == [6]
    assert reader.subscription.lost == 0


# Holes.


def test_a_hole_is_told_with_the_numbers_that_may_be_missing() -> None:
    """From the last block with this symbol on, up to the number before on its subject."""
    reader, its = SymbolReader(B), writer()
    assert seqs(reader.take(*its.head(), *its.divided(B, L))) == [1]
    its.divided(E)
    its.divided(L, B, L)
    reader.stream_seq = its.last
    assert seqs(reader.take(*its.divided(E, B))) == [(3, 5), 8]
    assert reader.subscription.lost == 3
    assert seqs(reader.take(*its.divided(B))) == [9]


def test_a_hole_behind_which_another_symbol_came_is_told_late() -> None:
    reader, its = SymbolReader(B, L), writer()
    assert seqs(reader.take(*its.head(), *its.divided(B))) == [1]
    its.divided(B)
    assert seqs(reader.take(None, *its.divided(L))) == [3]
    reader.stream_seq += 1
    ready, subscription = reader.subscription.ready, reader.subscription
    messages = its.divided(B)
    reader.reading.take(Message.of(5, messages[0][0], messages[0][2], messages[0][1]))
    assert seqs(list(ready)) == [(2, 2), 4]
    assert subscription.position == Position(epoch_ns=EPOCH_NS, seq=4), "3 does not come again"
    last = ready.pop()
    assert subscription.position == Position(epoch_ns=EPOCH_NS, seq=5)
    ready.append(last)
    assert subscription.lost == 1
    assert seqs(reader.records()) == [(2, 2), 4]


def test_what_was_told_as_lost_is_not_told_for_another_symbol_again() -> None:
    reader, its = SymbolReader(B, L), writer()
    assert seqs(reader.take(*its.head(), *its.divided(L), *its.divided(B))) == [1, 2]
    its.divided(B)
    its.divided(L)
    reader.stream_seq = its.last
    assert seqs(reader.take(*its.divided(L))) == [(2, 2), (3, 4), 5]
    assert seqs(reader.take(*its.divided(B), *its.divided(L))) == [6, 7]


def test_the_beginning_that_is_gone_is_told_for_the_symbol_alone() -> None:
    its = writer()
    its.divided(B, B)
    its.divided(E, E)
    for symbol, expected in ((B, [(1, 2), 5]), (L, [])):
        reader = SymbolReader(symbol)
        its_own = Writer(header=replace(THREE, next_seq=its.next_seq))
        its_own._before = {B: 2, E: 4}
        assert seqs(reader.take(*its_own.head(), *its_own.divided(B))) == expected


def test_a_message_that_does_not_tell_the_one_before_is_no_proof() -> None:
    reader, its = SymbolReader(B), writer()
    head, (one,), (_,), (two,) = its.head(), its.divided(B), its.divided(L), its.divided(B)
    del two[2]["Fanout-Before"]
    assert seqs(reader.take(*head, one, None, two)) == [1, (2, 2), 3]


def test_a_block_that_cannot_be_decoded_is_lost() -> None:
    reader, its = SymbolReader(B), writer()
    head = its.head()
    ((subject, data, headers),) = its.divided(B)
    broken = (subject, frame(seal(data[4:-7])), headers)
    assert seqs(reader.take(*head, broken)) == []
    assert seqs(reader.take(*its.divided(L), *its.divided(B))) == [(1, 1), 3]
    assert len(reader.foreign) == 1


def test_a_part_whose_header_is_gone_is_lost() -> None:
    reader, its = SymbolReader(B), writer()
    head = its.head()
    (one,) = its.divided(B)
    assert seqs(reader.take(*head, changed(one, Header="77"))) == []
    assert seqs(reader.take(*its.divided(B))) == [(1, 1), 2]


# Snapshots, epochs, connections.

QUOTE = Quote(BTC, 7, 5, 10, 1, 11, 2)


def test_a_snapshot_counts_behind_records_of_others_and_not_behind_own_ones() -> None:
    reader, its = SymbolReader(B), writer()
    records = reader.take(*its.head(), *its.divided(L), *its.head(its.snapshot(QUOTE)))
    assert [type(each) for each in records] == [Quote]
    its.divided(B)
    reader.stream_seq += 1
    records = reader.take(*its.divided(B))
    assert [type(each) for each in records] == [Loss, Trade]
    head, snapshot = its.head(its.snapshot(QUOTE))
    assert reader.take(head, None, changed(snapshot, Header="1")) == []
    (one,) = its.divided(B)
    assert [type(each) for each in reader.take(one, snapshot)] == [Trade]
    assert reader.reading.needs_snapshot


def test_a_place_behind_the_header_takes_no_snapshot_there() -> None:
    its = writer()
    head = its.head(its.snapshot(QUOTE))
    reader = SymbolReader(B, start=Position(epoch_ns=EPOCH_NS, seq=2))
    assert seqs(reader.take(*head, *its.divided(B, B))) == [2]


def test_another_epoch_begins_its_chains_anew() -> None:
    reader, its = SymbolReader(B), writer()
    reader.take(*its.head(), *its.divided(B, B, L))
    later = next_epoch(its)
    restarted, *records = reader.take(*later.head(), *later.divided(L, B))
    assert isinstance(restarted, Restarted)
    assert seqs(records) == [2]
    later._before[BTC.symbol] = 1
    later.next_seq, later._before[B] = 9, 7
    assert seqs(reader.take(*later.divided(B))) == [(3, 7), 9]


def opened_by(symbols: Any, *messages: Any) -> Opened:
    joining = Joining("nats://test", partial(ReadingOfSymbols, tokens=tokens_of(symbols)))
    for place, (subject, data, headers) in enumerate(messages, 1):
        if symbol_token_of(subject) in {"", "%all", *tokens_of(symbols)}:
            joining.take(Message.of(place, subject, headers, data))
    return joining.opened(len(messages) + 1)


def test_a_reader_that_joins_at_the_end_knows_what_it_has() -> None:
    its = writer()
    head = its.head()
    first = its.divided(E, L, B)
    parts = its.divided(B, L, B, E)
    opened = opened_by([B, L], *head, *first, *parts[:1])
    assert opened.place == Position(epoch_ns=EPOCH_NS, seq=5)
    reader = SymbolReader(B, L, start=Start.LIVE)
    reader.reading.begin(opened)
    (snapshot,) = reader.records()
    assert isinstance(snapshot, Snapshot)
    assert sorted(each.trade_id for each in snapshot.trades) == [1_002, 1_004]
    reader.stream_seq = its.last - 2
    assert seqs(reader.take(*parts[1:], END)) == [5, 6]
    assert reader.subscription.lost == 0


def test_the_next_connection_knows_what_is_missing() -> None:
    before, its = SymbolReader(B, L), writer()
    head = its.head()
    assert seqs(before.take(*head, *its.divided(B))) == [1]
    its.divided(B)
    assert seqs(before.take(None, *its.divided(L))) == [3]
    place = Position(epoch_ns=EPOCH_NS, seq=4)
    last = before.reading.last_before(place)
    assert before.reading.last_before(replace(place, epoch_ns=1)) is None
    reader = SymbolReader(B, L, start=place, last=last)
    assert seqs(reader.take(*head, None, None, None, *its.divided(B))) == [(2, 2), 4]


def test_a_reader_of_all_symbols_keeps_no_chains() -> None:
    reader = Reader()
    assert reader.reading.last_before(Position(epoch_ns=EPOCH_NS, seq=4)) is None
    assert Wanted.of([], False).is_everything
