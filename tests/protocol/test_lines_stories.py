"""Stories of two lines that lose, double, reorder and damage packets, against one oracle: what came
out and what was reported as lost are the numbers that were sent, in order, each once; every record
is as it was published; and every book that is known is the channel's. In some stories the service
keeps little of its past."""

import random
from collections.abc import Callable
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.clients.books import Books
from fanout.protocol import (
    Line,
    Lines,
    Loss,
    LossReason,
    Record,
    Start,
    SubscriberSession,
    decode_packet,
    on_line,
)
from tests.stand.packet_sender import Network, Sender
from tests.thoroughness import examples

STEPS = 60
PATIENCE = 3
"""Steps after which a reader gives up a hole, or asks for it over TCP."""


class Reader:
    """Takes packets, asks for the missing ones or gives them up, and judges what comes out."""

    def __init__(self, sender: Sender, chance: random.Random, *, recovers: bool) -> None:
        self.lines = Lines()
        self.records: list[Record] = []
        self.books = Books()
        self._sender = sender
        self._chance = chance
        self._recovers = recovers
        self._session = SubscriberSession()
        self._session.ask(Start.LIVE)

    def step(self, arrived: list[tuple[Line, bytes]], now_s: float) -> None:
        for line, data in arrived:
            self.lines.receive(data, line, line.name, now_s)
            self._take()
        missing = self.lines.missing
        is_late = missing is not None and now_s - missing.since_s >= PATIENCE
        is_apart = not self.lines.has_joined and self._chance.random() < 0.2
        if self._recovers and self.lines.wanted is not None and (is_late or is_apart):
            self._recover(now_s)
        elif is_late:
            self.lines.give_up()
        self._take()

    def _recover(self, now_s: float) -> None:
        """Ask over TCP. Some connections break in the middle."""
        assert self.lines.wanted is not None
        answer = self._sender.answer(self.lines.wanted)
        if self._chance.random() < 0.3:
            answer = answer[: self._chance.randrange(len(answer))]
        while answer:
            size = self._chance.choice((1, 7, 400, 100_000))
            if self.lines.recovered(answer[:size], now_s):
                return
            self._take()
            answer = answer[size:]
        self.lines.recovery_lost()

    def settle(self, now_s: float) -> None:
        """Nothing more is sent: close what is open."""
        for _ in range(200):
            if self._recovers and self.lines.wanted is not None:
                self._recover(now_s)
            else:
                self.lines.give_up()
            self._take()
            if self.lines.missing is None and self.lines.has_joined:
                return

    def _take(self) -> None:
        self._session.receive(self.lines.take())
        while (records := self._session.next_records()) is not None:
            for each in records:
                self.records.append(each)
                self.books.apply(each)
                self._judge_books()

    def _judge_books(self) -> None:
        for book in self.books.known:
            assert book.instrument is not None
            digest = self._sender.digests[book.instrument.index, book.update_id]
            assert book.prices.digest() == digest

    def judge(self) -> None:
        assert self.lines.next_seq == self._sender.channel.log.next_seq
        sent = self._sender.sent
        due: int | None = None
        for each in self.records:
            if isinstance(each, Loss):
                first, stop = each.first_seq, each.last_seq + 1
                is_gone = each.reason is LossReason.EVICTED
                assert is_gone is self._recovers, "what can be recovered is not lost"
            else:
                first = getattr(each, "seq", 0)
                stop = first + 1
                if not first:
                    continue  # of a snapshot
                assert each == sent[first]
            assert due in (None, first)
            due = stop
        assert due in (None, self._sender.channel.log.next_seq)


def play(seed: int, share: float, *, recovers: bool, has_books: bool) -> Reader:
    chance = random.Random(seed)
    number = chance.choice((0, 2**32 - 20))
    log_bytes = chance.choice((1_500, 50_000_000))
    sender = Sender(has_books=has_books, number=number, log_bytes=log_bytes, packet_bytes=512)
    network = Network(chance, share)
    reader = Reader(sender, chance, recovers=recovers)
    acts: list[Callable[[], list[bytes]]] = [
        sender.trades,
        lambda: sender.trades(chance.randrange(1, 120)),
        sender.quotes,
        sender.status,
        sender.change,
        sender.heartbeat,
        sender.snapshot,
    ]
    packets = []
    if has_books:
        packets = sender.whole_book(200) + sender.whole_book(index=1)
        acts += [sender.book_change, lambda: sender.book_change(1), sender.book_change]
        acts += [lambda: sender.whole_book(chance.randrange(1, 400)), sender.snapshot]
    for step in range(STEPS):
        packets += chance.choice(acts)()
        if chance.random() < 0.6:
            reader.step(list(network.send(packets)), float(step))
            packets = []
    # At last everything comes: the rest, and a snapshot for those that have lost their books.
    calm = Network(chance, 0.0)
    packets += sender.snapshot() + sender.heartbeat()
    for step in range(STEPS, STEPS + 2 * PATIENCE + 2):
        reader.step([*network.send([]), *calm.send(packets)], float(step))
        packets = sender.snapshot() + sender.heartbeat()
    reader.settle(STEPS + 20.0)
    if has_books:
        assert {each.symbol for each in reader.books.known} == {"BTCUSDT", "币安人生USDT"}
    reader.step([*calm.send(sender.end())], STEPS + 20.0)
    assert reader.lines.is_over
    return reader


SEEDS = st.integers(0, 2**32)
SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.3])


@pytest.mark.parametrize("recovers", [True, False])
@pytest.mark.parametrize("has_books", [False, True])
def test_all_that_was_sent_comes_out_or_is_reported(recovers: bool, has_books: bool) -> None:
    @settings(max_examples=examples(12), deadline=None)
    @given(SEEDS, SHARES)
    def story(seed: int, share: float) -> None:
        play(seed, share, recovers=recovers, has_books=has_books).judge()

    story()


def test_two_lines_lose_what_neither_of_them_brings_and_nothing_else() -> None:
    chance, sender, lines = random.Random(5), Sender(), Lines()
    session, losses, unhealed = SubscriberSession(), list[int](), list[int]()
    session.ask(Start.LIVE)

    def take() -> None:
        session.receive(lines.take())
        for each in chain.from_iterable(iter(session.next_records, None)):
            if isinstance(each, Loss):
                losses.extend(range(each.first_seq, each.last_seq + 1))

    for each in sender.snapshot():
        lines.receive(each, Line.A, "A", 0.0)
    for number in range(1, 4_001):
        (packet,) = sender.trades()
        is_lost_on = [number % 500 == 250 or chance.random() < 0.01 for _ in Line]
        if all(is_lost_on):
            unhealed.append(decode_packet(packet).next_seq)
        for line in Line:
            if not is_lost_on[line]:
                lines.receive(on_line(packet, line), line, line.name, 0.0)
        lines.give_up()
        take()
    lines.receive(sender.heartbeat()[0], Line.A, "A", 0.0)
    lines.give_up()
    take()
    counts = lines.statistics
    assert losses == unhealed
    assert counts.lost == len(unhealed) >= 8
    assert all(each.lost > 4_000 / 200 for each in counts.lines.values())
