"""Blocks that are divided by symbol: what each subject has, and what a bridge that was interrupted
within a block adds."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from fanout.bridge.nats.options import NatsOptions
from fanout.protocol import FeedState, Trade, decode_block
from fanout.protocol.header import decode_opening
from fanout.protocol.jetstream import subjects_of
from tests.clients.test_journal import Folder
from tests.fanout.bridge.nats.streams import (
    MAX_BYTES,
    Bridged,
    Message,
    connected,
    kept,
    records,
    run,
)
from tests.protocol.golden import BTC, HEADER
from tests.stand.nats import NatsServer

OTHER = HEADER.instruments[1]


@pytest.fixture
def bridged(tmp_path: Path, shared_nats: NatsServer) -> Bridged:
    """Numbers 1 to 5 in one block, of two symbols, then a STATUS of one and of all, then 8 and 9 of
    the other symbol."""
    folder = Folder(tmp_path / "journal", "test")
    told = folder.story()
    mixed = [
        Trade(each, number, 5, 6, 7, False)
        for number, each in enumerate((BTC, OTHER, OTHER, BTC, OTHER), 1)
    ]
    told.channel.publish(mixed, received_ns=1, held_ns=1)
    told.channel.publish_status(BTC, FeedState.LIVE, "")
    told.channel.publish_status(None, FeedState.LIVE, "")
    told.channel.publish(
        [Trade(OTHER, number, 5, 6, 7, False) for number in (6, 7)], received_ns=2, held_ns=1
    )
    told.recorder.write()
    folder.write()
    options = NatsOptions(
        url=shared_nats.url, prefix=shared_nats.new_prefix(), by_symbol=True, max_bytes=MAX_BYTES
    )
    return Bridged(folder, options)


async def passed_on(bridged: Bridged) -> list[Message]:
    async with bridged.running():
        await bridged.until(10)
    return await kept(bridged.options.url, bridged.stats.stream)


def test_each_symbol_has_a_subject_with_its_runs(bridged: Bridged) -> None:
    async def story() -> None:
        found = await passed_on(bridged)
        header = decode_opening(b"".join(found[0].frames))
        its = records(found)
        subject = f"{bridged.options.prefix}.test.records"
        assert [
            (each.subject.removeprefix(f"{subject}."), each.stamp.part, each.stamp.parts)
            for each in its
        ] == [
            (BTC.symbol, 1, 2),
            (OTHER.symbol, 2, 2),
            (BTC.symbol, 1, 1),
            ("%all", 1, 1),
            (OTHER.symbol, 1, 1),
        ]
        assert [(each.stamp.seq, each.stamp.count, each.stamp.before) for each in its] == [
            (1, 5, 0),
            (1, 5, 0),
            (6, 1, 4),
            (7, 1, 0),
            (8, 2, 5),
        ]
        runs = [
            [trade.seq for trade in decode_block(payload, header).trades]
            for each in its[:2]
            for payload in each.payloads
        ]
        assert runs == [[1], [4], [2, 3], [5]]
        assert its[0].message_id == f"1-1-{BTC.symbol}"

    run(story())


def test_the_parts_of_a_block_that_are_missing_are_added(bridged: Bridged) -> None:
    async def story() -> None:
        header, first, *rest = await passed_on(bridged)
        prefix = f"{bridged.options.prefix}-again"
        again = Bridged(bridged.folder, replace(bridged.options, prefix=prefix))
        async with connected(bridged.options.url) as connection:
            js = connection.jetstream()
            await js.add_stream(
                name=again.stats.stream,
                subjects=list(subjects_of(prefix, "test")),
                description="fanout: channel test, by symbol",
            )
            for each in (header, first):
                subject = each.subject.replace(bridged.options.prefix, prefix, 1)
                headers = {name: text for name, text in each.headers.items() if "Exp" not in name}
                await js.publish(subject, b"".join(each.frames), headers=headers)
        found = records(await passed_on(again))
        assert [each.payloads for each in found] == [
            each.payloads for each in records([first, *rest])
        ]
        assert [each.stamp.before for each in found] == [0, 0, 4, 0, 5]

    run(story())


def test_in_a_new_epoch_each_subject_begins_anew(bridged: Bridged) -> None:
    async def story() -> None:
        before = await passed_on(bridged)
        told = bridged.folder.story(2)
        for number in (1, 2):
            told.channel.publish(
                [Trade(OTHER, number, 5, 6, 7, False)], received_ns=number, held_ns=1
            )
        told.recorder.write()
        bridged.folder.write()
        async with bridged.running():
            await bridged.until(3, 2)
        found = records(await kept(bridged.options.url, bridged.stats.stream))
        stamps = [each.stamp for each in found[len(records(before)) :]]
        assert [(each.epoch_ns, each.seq, each.before) for each in stamps] == [(2, 1, 0), (2, 2, 1)]

    run(story())
