"""The judge of a stream finds whatever is planted in it, and nothing in an honest one."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    Block,
    BlockFlags,
    FeedState,
    Gap,
    GapState,
    Header,
    Loss,
    LossReason,
    Status,
    Trade,
    encode_block,
    encode_event,
    frame,
)
from fanout.protocol.header import opening
from tests.protocol.golden import BTC, HEADER, LIFE
from tests.stand.nats_account import Message, StreamAccount

SUBJECT = "fanout.perps"

Change = Callable[[list[Message]], object]


class Writer:
    """Writes the messages of an honest stream, one after the other."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._header, self._number, self._whole = HEADER, 0, 0
        self._last: dict[str, int] = {}

    def header(self, epoch_ns: int, seq: int = 1, *, parts: int = 1, come: int = 1) -> None:
        """A header, and so many parts of its snapshot as came."""
        self._header = replace(HEADER, epoch_ns=epoch_ns, next_seq=seq)
        if seq == 1:
            self._last.clear()
        more = {"Whole": self._whole, "Part": 1, "Parts": parts}
        self._add("header", opening(self._header), seq, 0, 0, more)
        self._number = len(self.messages)
        for part in range(1, come + 1):
            trades = [Trade(BTC, 9, 9, 9, 9, False)]
            flagged = Block(first_seq=seq, trades=trades, received_ns=0, flags=BlockFlags.SNAPSHOT)
            data = self._frame(flagged)
            self._add("snapshot", data, seq, 0, 0, {"Part": part, "Parts": parts})
        if parts == come:
            self._whole = self._number

    def block(self, seq: int, count: int = 3) -> None:
        data = self._frame(block_of([trade(each) for each in range(seq, seq + count)]))
        self._add("records", data, seq, count, 77)

    def event(self, event: Status | Gap | Loss) -> None:
        data = frame(encode_event(event))
        if isinstance(event, Loss):
            self._add("records", data, event.first_seq, event.count, 0)
        else:
            self._add("records", data, event.seq, 1, getattr(event, "since_ns", 0))

    def divided(self, seq: int) -> None:
        """Trades of BTC, LIFE, BTC."""
        first, second, third = trade(seq), trade(seq + 1, LIFE), trade(seq + 2)
        data = self._frame(block_of([first])) + self._frame(block_of([third]))
        for part, (symbol, frames) in enumerate(
            [(BTC.symbol, data), (LIFE.symbol, self._frame(block_of([second])))], start=1
        ):
            more = {"Before": self._last.get(symbol, 0), "Part": part, "Parts": 2}
            self._add(f"records.{symbol}", frames, seq, 3, 77, more)
            self._last[symbol] = seq + 2

    def _frame(self, block: Block) -> bytes:
        return frame(encode_block(block, self._header))

    def _add(
        self, kind: str, data: bytes, seq: int, count: int, time_ns: int, more: Any = ()
    ) -> None:
        epoch_ns = self._header.epoch_ns
        named = {"Epoch": epoch_ns, "Seq": seq, "Count": count, "Time": time_ns}
        named |= {"Header": 0 if kind == "header" else self._number, **dict(more)}
        headers = {f"Fanout-{name}": str(value) for name, value in named.items()}
        kind, _, symbol = kind.partition(".")
        if kind == "records":
            headers["Nats-Msg-Id"] = f"{epoch_ns}-{seq}{symbol and f'-{symbol}'}"
        subject = f"{SUBJECT}.{kind}{symbol and f'.{symbol}'}"
        self.messages.append(Message(len(self.messages) + 1, subject, headers, data))


def trade(seq: int, instrument: Any = BTC) -> Trade:
    return Trade(instrument, 1_000 + seq, 5, 6, 7, False, seq=seq)


def block_of(trades: Sequence[Trade]) -> Block:
    return Block(first_seq=trades[0].seq, trades=trades, received_ns=77)


def honest() -> list[Message]:
    """Two epochs, of which the first is cut off in a snapshot."""
    writer = Writer()
    writer.header(5)  # 1 and 2
    writer.block(1)  # 3
    writer.event(Status(seq=4, instrument=BTC, state=FeedState.LIVE, since_ns=9))  # 4
    writer.event(Loss(first_seq=5, last_seq=8, reason=LossReason.SLOW))  # 5
    writer.header(5, 9, parts=2, come=1)  # 6 and 7
    writer.header(5, 9, parts=2, come=2)  # 8 to 10
    writer.event(Gap(seq=9, instrument=LIFE, first_id=1, last_id=2, state=GapState.OPEN))  # 11
    writer.block(10, 1)  # 12
    writer.header(6)  # 13 and 14
    writer.block(1)  # 15
    writer.block(4)  # 16
    return writer.messages


def by_symbol() -> list[Message]:
    writer = Writer()
    writer.header(5, parts=0, come=0)  # 1
    writer.divided(1)  # 2 and 3
    writer.divided(4)  # 4 and 5
    writer.block(7)  # 6
    return writer.messages


def judged(messages: Sequence[Message]) -> StreamAccount:
    """The account of these, numbered anew as a stream numbers what it is sent."""
    account = StreamAccount(SUBJECT)
    for number, each in enumerate(messages, start=1):
        account.take(each._replace(number=number))
    account.end()
    return account


def renamed(message: Message, **headers: object) -> Message:
    """The message with other headers of ours."""
    changed = {f"Fanout-{name}": str(value) for name, value in headers.items()}
    return message._replace(headers={**message.headers, **changed})


def test_an_honest_stream_is_counted_and_given_record_by_record() -> None:
    received = list[tuple[int, object]]()
    account = StreamAccount(SUBJECT, lambda record, epoch_ns: received.append((epoch_ns, record)))
    for each in honest():
        account.take(each)
    account.end()
    assert account.complaints == []
    assert (account.records, account.lost, account.doubles, account.holes) == (12, 4, 0, 0)
    assert {epoch_ns: each.due for epoch_ns, each in account.numbers.items()} == {5: 11, 6: 7}
    assert len(received) == 13
    assert received[0] == (5, replace(trade(1), received_ns=77))


def test_a_stream_may_begin_at_any_number_and_its_next_epoch_at_the_first() -> None:
    writer = Writer()
    writer.header(5, 100)
    writer.block(100)
    writer.header(6, 4)
    account = judged(writer.messages)
    assert account.numbers[5].first_seq == 100
    assert account.complaints == [
        "message 4 (fanout.perps.header): the number that is due is 4, not 1",
        "message 5 (fanout.perps.snapshot): the number that is due is 4, not 1",
    ]


def test_parts_of_a_block_are_put_together() -> None:
    account = judged(by_symbol())
    assert account.complaints == []
    assert (account.records, account.doubles, account.holes) == (9, 0, 0)


@pytest.mark.parametrize(
    ("plant", "doubles", "holes", "words"),
    [
        pytest.param(lambda it: it.insert(3, it[2]), 3, 0, "1 to 3 came where 4", id="double"),
        pytest.param(lambda it: it.insert(5, it[3]), 1, 0, "4 to 4 came where 9", id="late double"),
        pytest.param(lambda it: it.pop(3), 0, 1, "5 to 8 came where 4", id="hole"),
        pytest.param(lambda it: it.insert(4, it.pop(3)), 0, 0, "5 to 8 came where 4", id="reorder"),
        pytest.param(lambda it: it.append(it[11]), 1, 0, "epoch 5 comes after 6", id="old epoch"),
        pytest.param(
            lambda it: it.insert(15, renamed(it[15], Epoch=7)), 0, 0, "no header", id="new epoch"
        ),
    ],
)
def test_a_number_out_of_its_turn_is_found(
    plant: Change, doubles: int, holes: int, words: str
) -> None:
    messages = honest()
    plant(messages)
    account = judged(unnumbered(messages))
    assert any(words in each for each in account.complaints), account.complaints
    assert (account.doubles, account.holes) == (doubles, holes)


def unnumbered(messages: list[Message]) -> list[Message]:
    """With the numbers of headers as they stand now, so that nothing else is wrong."""
    places = {each.number: place for place, each in reversed([*enumerate(messages, start=1)])}
    return [
        renamed(
            each,
            Header=places.get(int(each.headers["Fanout-Header"]), 0),
            Whole=places.get(int(each.headers.get("Fanout-Whole", 0)), 0),
        )
        for each in messages
    ]


@pytest.mark.parametrize(
    ("place", "headers", "words"),
    [
        (0, {"Seq": 2}, "the header is (5, 1), not (5, 2)"),
        (0, {"Epoch": 6}, "the header is (5, 1), not (6, 1)"),
        (0, {"Count": 1}, "Fanout-Count is 1, not 0"),
        (0, {"Header": 1}, "Fanout-Header is 1, not 0"),
        (5, {"Whole": 0}, "Fanout-Whole is 0, not 1"),
        (7, {"Whole": 6}, "Fanout-Whole is 6, not 1"),
        (12, {"Whole": 1}, "Fanout-Whole is 1, not 8"),
        (1, {"Part": 2}, "the part is (2, 1), not (1, 1)"),
        (8, {"Part": 2}, "the part is (2, 2), not (1, 2)"),
        (1, {"Seq": 2}, "the number that is due is 2, not 1"),
        (1, {"Header": 0}, "Fanout-Header is 0, not 1"),
        (1, {"Epoch": 6}, "Fanout-Epoch is 6, not 5"),
        (2, {"Seq": 2}, "it has 1 to 3, not 2 to 4"),
        (2, {"Count": 2}, "it has 1 to 3, not 1 to 2"),
        (2, {"Time": 78}, "Fanout-Time is 78, not 77"),
        (3, {"Time": 0}, "Fanout-Time is 0, not 9"),
        (4, {"Count": 3}, "it has 5 to 8, not 5 to 7"),
        (10, {"Header": 6}, "Fanout-Header is 6, not 8"),
        (14, {"Epoch": 5}, "epoch 5 comes after 6"),
        (14, {"Seq": "01"}, "Fanout-Seq is 01"),
        (14, {"Seq": "+1"}, "Fanout-Seq is +1"),
        (14, {"Seq": 2**64}, f"Fanout-Seq is {2**64}"),
    ],
)
def test_a_header_of_a_message_that_is_not_true_is_found(
    place: int, headers: dict[str, object], words: str
) -> None:
    messages = honest()
    messages[place] = renamed(messages[place], **headers)
    account = judged(messages)
    assert any(words in each for each in account.complaints), account.complaints


@pytest.mark.parametrize(
    ("place", "changes", "words"),
    [
        (2, {"headers": {}}, "Fanout-Epoch is None"),
        (2, {"subject": "fanout.perps.record"}, "not one of the channel's"),
        (2, {"subject": "fanout.perps.header.x"}, "not one of the channel's"),
        (2, {"data": b""}, "the number of frames is 0, not 1"),
        (2, {"data": honest()[1].data}, "a block of a snapshot"),
        (1, {"data": honest()[2].data}, "not flagged snapshot"),
        (1, {"data": honest()[3].data}, "is no block"),
        (2, {"data": honest()[2].data[:-1] + b"x"}, "CRC"),
        (0, {"data": honest()[2].data}, "wire version 16"),
    ],
)
def test_data_that_a_message_must_not_have_are_found(
    place: int, changes: dict[str, Any], words: str
) -> None:
    messages = honest()
    messages[place] = messages[place]._replace(**changes)
    account = judged(messages)
    assert any(words in each for each in account.complaints), account.complaints


def test_a_message_that_was_removed_is_found() -> None:
    account = StreamAccount(SUBJECT)
    first, _, *others = honest()
    for each in (first, *others):
        account.take(each)
    assert account.complaints[0] == "message 3 (fanout.perps.records): it follows 1"


def test_another_id_is_found() -> None:
    messages = honest()
    headers = {**messages[2].headers, "Nats-Msg-Id": "5-2"}
    messages[2] = messages[2]._replace(headers=headers)
    assert "Nats-Msg-Id is 5-2, not 5-1" in judged(messages).complaints[0]


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        pytest.param(lambda it: it.pop(2), "parts are missing of the block 1", id="cut off"),
        pytest.param(lambda it: it.pop(4), "parts are missing of the block 4", id="then whole"),
        pytest.param(
            lambda it: [it.pop(), it.pop()], "parts are missing of the block 4", id="at the end"
        ),
        pytest.param(lambda it: it.insert(2, it[1]), "part 1 of 2 came after part 1", id="twice"),
        pytest.param(lambda it: it.insert(1, it.pop(2)), "part 2 of 2 came after", id="reorder"),
        pytest.param(
            lambda it: it.insert(3, renamed(it.pop(3), Before=2)),
            "Fanout-Before is 2, not 3",
            id="before",
        ),
        pytest.param(
            lambda it: it.insert(1, it.pop(1)._replace(subject="fanout.perps.records.ETHUSDT")),
            "BTCUSDT stands under ETHUSDT",
            id="another symbol",
        ),
        pytest.param(
            lambda it: it.insert(2, it.pop(2)._replace(data=it[1].data)),
            "the parts of 1 to 3 have other numbers",
            id="other records",
        ),
    ],
)
def test_what_is_wrong_with_a_divided_block_is_found(plant: Change, words: str) -> None:
    messages = by_symbol()
    plant(messages)
    account = judged(unnumbered(messages))
    assert any(words in each for each in account.complaints), account.complaints


def test_many_complaints_are_cut_short() -> None:
    header = Header(epoch_ns=1, next_seq=1, venue="v", instruments=(), references=())
    message = Message(1, "elsewhere", {}, opening(header))
    assert len(judged([message] * 1_000).complaints) == 50
