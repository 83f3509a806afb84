"""Headers and snapshots in a stream: when they are published, and what they bring."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from fanout.bridge.nats import passing
from fanout.bridge.nats.options import NatsOptions
from fanout.clients.wholes import Wholes
from fanout.protocol import BookFlags, BookUpdate, DataKinds, Snapshot, pack_levels
from fanout.protocol.constants import START
from fanout.protocol.framing import frame
from fanout.protocol.header import decode_opening
from fanout.protocol.jetstream import Subject
from fanout.protocol.session import SubscriberSession
from tests.clients.test_journal import Folder
from tests.fanout.bridge.nats.streams import MAX_BYTES, Bridged, Message, kept, run, until
from tests.protocol.golden import BTC
from tests.protocol.test_journal_play import Story
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
