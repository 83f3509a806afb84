"""Headers and snapshots in a stream: when they are published, and what they bring."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.bridge.nats import passing
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.passing import Passing
from fanout.bridge.nats.stream import Place
from fanout.clients.relay import Passed
from fanout.clients.wholes import Wholes
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    DataKinds,
    Heartbeat,
    Snapshot,
    decode_block,
    encode_event,
    pack_levels,
)
from fanout.protocol.constants import LENGTH_BYTES, START
from fanout.protocol.framing import frame
from fanout.protocol.header import decode_opening
from fanout.protocol.jetstream import Subject
from fanout.protocol.session import SubscriberSession
from tests.clients.test_journal import Folder
from tests.fanout.bridge.nats.streams import MAX_BYTES, Bridged, Message, kept, run, until
from tests.protocol.golden import BTC, HEADER
from tests.protocol.test_journal_play import Story
from tests.protocol.test_session import block
from tests.stand.nats import NatsServer


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "journal", "test")


@pytest.fixture
def bridged(folder: Folder, shared_nats: NatsServer) -> Bridged:
    options = NatsOptions(url=shared_nats.url, prefix=shared_nats.new_prefix(), max_bytes=MAX_BYTES)
    return Bridged(folder, options)


def told(folder: Folder) -> Story:
    """A channel with trades and books."""
    story = folder.story()
    story.channel.header = story.channel.log.context = replace(
        story.channel.header, data=DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
    )
    story.recorder.begin(0)
    return story


def change(story: Story, update_id: int, price: int, *, whole: bool = False) -> None:
    flags = BookFlags.WHOLE if whole else BookFlags.NONE
    update = BookUpdate(BTC, update_id, 5, pack_levels([(price, 1)]), b"", flags)
    book = story.channel.books.of(0)
    book.apply(update)
    story.channel.publish([update], received_ns=1, held_ns=1)
    story.recorder.write()


def read(messages: list[Message]) -> tuple[Wholes, list[object]]:
    """What a reader makes of messages that begin with a header."""
    session, wholes, got = SubscriberSession(), Wholes(), []
    session.receive(frame(START))
    for each in messages:
        session.receive(b"".join(each.frames))
        while (records := session.next_records()) is not None:
            for record in records:
                wholes.apply(record)
                got.append(record)
    return wholes, got


def of_kind(messages: list[Message], kind: Subject) -> Iterator[Message]:
    return (each for each in messages if each.kind is kind)


def test_a_header_and_a_snapshot_come_again(
    bridged: Bridged, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "HEADER_EVERY_S", 0.0)
    story = told(folder)
    story.blocks(1)
    change(story, 10, 99, whole=True)
    change(story, 11, 98)
    folder.write()

    async def work() -> list[Message]:
        async with bridged.running():
            await bridged.until(6)
            await until(lambda: bridged.stats.snapshots >= 3)
        return await kept(bridged.options.url, bridged.stats.stream)

    found = run(work())
    headers = list(of_kind(found, Subject.HEADER))
    assert headers[0].stamp.whole == 0
    last = headers[-1]
    assert last.stamp.whole == headers[-2].seq
    assert last.stamp.parts == 1
    parts = [each for each in of_kind(found, Subject.SNAPSHOT) if each.stamp.header == last.seq]
    assert [(each.stamp.part, each.stamp.seq) for each in parts] == [(1, 6)]
    wholes, got = read([last, *parts])
    snapshot, book = got
    assert isinstance(snapshot, Snapshot)
    assert [each.trade_id for each in snapshot.trades] == [3]
    assert isinstance(book, BookUpdate)
    assert [tuple(level) for level in book.bids] == [(99, 1), (98, 1)]
    assert len(list(wholes.frames(decode_opening(b"".join(last.frames)), 6))) == 2


def test_a_bridge_that_goes_on_knows_the_books_from_the_stream(
    bridged: Bridged, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "HEADER_EVERY_S", 0.0)
    story = told(folder)
    change(story, 10, 99, whole=True)
    folder.write()

    async def begin() -> None:
        async with bridged.running():
            await bridged.until(2)
            await until(lambda: bridged.stats.snapshots >= 1)

    async def go_on() -> list[Message]:
        again = Bridged(folder, bridged.options)
        async with again.running():
            await again.until(3)
            await until(lambda: again.stats.snapshots >= 2)
        return await kept(bridged.options.url, bridged.stats.stream)

    run(begin())
    change(story, 11, 98)
    folder.write()
    found = run(go_on())
    newest = max(of_kind(found, Subject.SNAPSHOT), key=lambda each: each.seq)
    header = next(each for each in found if each.seq == newest.stamp.header)
    _, got = read([header, newest])
    (book,) = (each for each in got if isinstance(each, BookUpdate))
    assert newest.stamp.seq == 3
    assert [tuple(level) for level in book.bids] == [(99, 1), (98, 1)]


def test_a_header_comes_again_where_nothing_is_published(
    bridged: Bridged, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "LOOK_EVERY_S", 0.01)
    folder.story().blocks(1)
    folder.write()

    async def work() -> list[Message]:
        async with bridged.running():
            await bridged.until(4)
            monkeypatch.setattr(passing, "HEADER_EVERY_S", 0.0)
            assert bridged.stats.headers == 1
        monkeypatch.setattr(passing, "ALONE_S", 0.02)
        again = Bridged(folder, bridged.options)
        async with again.running():
            await until(lambda: again.stats.headers >= 3)
        return await kept(bridged.options.url, bridged.stats.stream)

    headers = list(of_kind(run(work()), Subject.HEADER))
    assert [each.stamp.seq for each in headers][:4] == [1, 4, 4, 4]


def test_no_header_is_repeated_before_the_first_record_of_an_epoch(
    bridged: Bridged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have the old epoch's number, and its snapshot."""
    monkeypatch.setattr(passing, "HEADER_EVERY_S", 0.0)
    published: list[tuple[str, dict[str, str]]] = []

    class Stand:
        last = 0
        name = "s"

        async def publish(self, subject: str, _: bytes, headers: dict[str, str], **__: int) -> int:
            published.append((subject, headers))
            return len(published)

        def most_bytes(self, wanted: int) -> int:
            return wanted

    async def work() -> None:
        stand: Any = Stand()
        its = Passing(bridged.options, "test", stand, stand, Place(last=0, due=None), bridged.stats)
        old, new = (replace(HEADER, epoch_ns=each, channel="test") for each in (1, 2))
        trade = block(1)[LENGTH_BYTES:]
        record = decode_block(trade, HEADER).trades[0]
        await its.take(Passed(trade, [record], old))
        before = len(published)
        beat = encode_event(Heartbeat(next_seq=1, time_ns=1))
        await its.take(Passed(beat, [], new))
        assert len(published) == before
        await its.take(Passed(trade, [record], new))

    run(work())
    headers = [its for subject, its in published if subject.endswith(".header")]
    assert [(its["Fanout-Epoch"], its["Fanout-Seq"]) for its in headers] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
        ("2", "2"),
    ]
