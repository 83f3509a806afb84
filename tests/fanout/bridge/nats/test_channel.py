"""A channel in a stream of a real server: each record once and in order, whatever happens."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.bridge.nats import connection, publisher, stats
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.publisher import Publisher
from fanout.bridge.nats.stats import BridgeState, ChannelStats
from fanout.bridge.nats.stream import ChannelStream, Place
from fanout.clients import nats_connection
from fanout.errors import ConfigError, EngineError, EngineForbiddenError, EngineRefusedError
from fanout.protocol import FeedState, Position, Trade, decode_block
from fanout.protocol.constants import FrameKind
from fanout.protocol.header import decode_opening
from fanout.protocol.jetstream import Stamp, Subject, headers_of
from tests.clients.test_journal import Folder
from tests.fanout.bridge.nats.streams import (
    MAX_BYTES,
    Bridged,
    connected,
    kept,
    numbers,
    records,
    run,
    until,
)
from tests.protocol.golden import BTC
from tests.stand.nats import NatsServer, running_nats


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "journal", "test")
    folder.story().blocks(3)
    folder.write()
    return folder


@pytest.fixture
def bridged(folder: Folder, shared_nats: NatsServer) -> Bridged:
    options = NatsOptions(url=shared_nats.url, prefix=shared_nats.new_prefix(), max_bytes=MAX_BYTES)
    return Bridged(folder, options)


async def passed_on(bridged: Bridged, next_seq: int, epoch_ns: int = 1) -> None:
    async with bridged.running():
        await bridged.until(next_seq, epoch_ns)


async def messages_of(bridged: Bridged) -> list[Any]:
    return await kept(bridged.options.url, bridged.stats.stream)


def test_a_block_is_a_message_behind_its_header(bridged: Bridged) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        header, *blocks = await messages_of(bridged)
        assert header.kind is Subject.HEADER
        read = decode_opening(b"".join(header.frames))
        assert read.epoch_ns == 1
        assert read.next_seq == 1
        assert [each.message_id for each in blocks] == ["1-1", "1-4", "1-7"]
        assert [each.stamp.header for each in blocks] == [header.seq] * 3
        assert [each.stamp.time_ns for each in blocks] == [1] * 3
        trades = [
            trade
            for each in blocks
            for payload in each.payloads
            for trade in decode_block(payload, read).trades
        ]
        assert [each.seq for each in trades] == list(range(1, 10))
        assert all(each.instrument.symbol == BTC.symbol for each in trades)
        assert bridged.stats.state is BridgeState.PUBLISHING
        assert bridged.stats.records == 9

    run(story())


def test_it_goes_on_behind_what_the_stream_has(bridged: Bridged) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        bridged.folder.story(2).blocks(2)
        bridged.folder.write()
        another = Bridged(bridged.folder, bridged.options)
        await passed_on(another, 7, epoch_ns=2)
        assert another.begun[0] == Position(epoch_ns=1, seq=10)
        found = await messages_of(bridged)
        assert numbers(found, 1) == list(range(1, 10))
        assert numbers(found, 2) == list(range(1, 7))
        headers = [each for each in found if each.kind is Subject.HEADER]
        assert [each.stamp.epoch_ns for each in headers] == [1, 2]
        assert [each.stamp.header for each in records(found)] == [1] * 3 + [headers[1].seq] * 2

    run(story())


def test_what_the_source_no_longer_has_is_told_in_the_stream(bridged: Bridged) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        gone = Folder(bridged.folder.path.parent.parent / "other", "test")
        gone.story().blocks(5).rotate(9).blocks(1)
        gone.files.all = {key: each for key, each in gone.files.all.items() if key[1] > 1}
        gone.write()
        another = Bridged(gone, bridged.options)
        await passed_on(another, 19)
        found = records(await messages_of(bridged))
        assert numbers(found) == list(range(1, 19))
        assert found[-2].payloads[0][0] == FrameKind.LOSS
        assert list(found[-2].numbers) == list(range(10, 16))
        assert found[-2].message_id == "1-10"
        assert another.stats.lost == 6

    run(story())


def test_an_older_epoch_is_refused(bridged: Bridged, tmp_path: Path) -> None:
    async def story() -> None:
        bridged.folder.story(5).blocks(1)
        bridged.folder.write()
        await passed_on(bridged, 4, epoch_ns=5)
        old = Folder(tmp_path / "old", "test")
        old.story(3).blocks(1)
        old.write()
        another = Bridged(old, bridged.options, is_like_a_queue=True)
        with pytest.raises(ConfigError, match="has epoch 5, and the service's is 3, which is old"):
            await another.bridge.run()

    run(story())


def test_a_source_that_begins_before_the_streams_end_doubles_nothing(bridged: Bridged) -> None:
    """A queue is read from where it was left, whatever the stream has."""

    async def story() -> None:
        await passed_on(bridged, 10)
        # The stream now ends in the middle of what was one block.
        longer = Folder(bridged.folder.path.parent.parent / "longer", "test")
        made = longer.story()
        made.channel.publish(
            [Trade(BTC, each, 5, 6, 7, False) for each in range(1, 15)], received_ns=1, held_ns=1
        )
        made.recorder.write()
        longer.write()
        another = Bridged(longer, bridged.options, is_like_a_queue=True)
        await passed_on(another, 15)
        found = records(await messages_of(bridged))
        assert numbers(found) == list(range(1, 15))
        assert found[-1].stamp.seq == 10

    run(story())


def test_a_change_of_the_listing_is_a_header_before_the_next_block(bridged: Bridged) -> None:
    async def story() -> None:
        told = bridged.folder.story(2).blocks(1)
        channel = told.channel
        its = replace(channel.header.references[0], trade_id=9)
        channel.change([BTC], [its])
        told.blocks(1)
        bridged.folder.write()
        await passed_on(bridged, 7, epoch_ns=2)
        found = [
            each
            for each in await messages_of(bridged)
            if each.stamp.epoch_ns == 2 and each.kind is not Subject.SNAPSHOT
        ]
        assert [each.kind for each in found] == [
            Subject.HEADER,
            Subject.RECORDS,
            Subject.HEADER,
            Subject.RECORDS,
        ]
        assert decode_opening(b"".join(found[2].frames)).references[0].trade_id == 9
        assert found[2].stamp.seq == 4
        assert found[3].stamp.header == found[2].seq

    run(story())


def reached(stats: ChannelStats) -> int:
    """The number that is due in epoch 2."""
    return stats.next_seq if stats.epoch_ns == 2 else 1


def test_of_two_bridges_one_publishes(bridged: Bridged) -> None:
    async def story() -> None:
        other = Bridged(bridged.folder, bridged.options)
        both = (bridged.stats, other.stats)
        async with bridged.running():
            await bridged.until(10)
            async with other.running():
                made = bridged.folder.story(2)
                for count in range(1, 30):
                    made.blocks(1)
                    bridged.folder.write()
                    await until(lambda at=3 * count + 1: max(map(reached, both)) == at)  # type: ignore[misc]
                assert BridgeState.STANDING_BY in (bridged.stats.state, other.stats.state)
        found = await messages_of(bridged)
        assert numbers(found, 1) == list(range(1, 10))
        assert numbers(found, 2) == list(range(1, 88))

    run(story())


def test_messages_of_others_are_passed_over(bridged: Bridged) -> None:
    async def story() -> None:
        async with bridged.running():
            await bridged.until(10)
            async with connected(bridged.options.url) as nats:
                js = nats.jetstream()
                subject = f"{bridged.options.prefix}.test.records"
                await js.publish(subject, b"what is this?")
                await js.publish(subject, b"", headers={"Fanout-Epoch": "x"})
            bridged.folder.story(2).blocks(1)
            bridged.folder.write()
            await bridged.until(4, epoch_ns=2)
            assert bridged.stats.state is BridgeState.PUBLISHING
            assert bridged.stats.foreign == 1
        again = Bridged(bridged.folder, bridged.options)
        async with connected(bridged.options.url) as nats:
            await nats.jetstream().publish(subject, b"again")
        async with again.running():
            await until(lambda: bool(again.begun))
        assert again.begun == [Position(epoch_ns=2, seq=4)]
        assert numbers(await messages_of(bridged), 2) == [1, 2, 3]

    run(story())


def test_a_server_that_comes_and_goes_leaves_no_hole(
    folder: Folder, nats_server: NatsServer
) -> None:
    bridged = Bridged(folder, NatsOptions(url=nats_server.url, max_bytes=MAX_BYTES))

    async def story() -> None:
        async with bridged.running():
            await bridged.until(10)
            nats_server.kill()
            await until(lambda: bridged.stats.state is BridgeState.RETRYING)
            folder.story(2).blocks(2)
            folder.write()
            nats_server.restart()
            await bridged.until(7, epoch_ns=2)
        assert bridged.stats.reconnects >= 1
        found = await messages_of(bridged)
        assert numbers(found, 1) == list(range(1, 10))
        assert numbers(found, 2) == list(range(1, 7))

    run(story())


def test_settings_that_differ_are_told_and_changed_on_demand(
    bridged: Bridged, caplog: pytest.LogCaptureFixture
) -> None:
    async def max_age() -> float | None:
        async with connected(bridged.options.url) as nats:
            info = await nats.jetstream().stream_info(bridged.stats.stream)
            return info.config.max_age

    async def told() -> None:
        other = Bridged(bridged.folder, replace(bridged.options, max_age_s=600))
        async with other.running():
            await until(lambda: bool(other.begun))

    async def applied() -> None:
        other = Bridged(bridged.folder, replace(bridged.options, max_age_s=600, apply=True))
        async with other.running():
            await until(lambda: bool(other.begun))

    run(passed_on(bridged, 10))
    run(told())
    assert "max_age is 86400.0, and not 600; --apply changes it" in caplog.text
    assert run(max_age()) == 86_400
    run(applied())
    assert run(max_age()) == 600


def test_a_stream_of_that_name_that_is_not_ours_is_refused(bridged: Bridged) -> None:
    async def story() -> None:
        async with connected(bridged.options.url) as nats:
            js = nats.jetstream()
            await js.add_stream(name=bridged.stats.stream, subjects=[f"{bridged.stats.stream}.x"])
        with pytest.raises(EngineRefusedError, match=r"is not ours: its subjects are .*\.x"):
            await bridged.bridge.run()

    run(story())


@pytest.mark.parametrize(
    ("options", "user", "error", "words"),
    [
        ({"has_jetstream": False}, "", EngineRefusedError, "has no JetStream for this account"),
        ({"user": "u", "password": "p"}, "u:x@", EngineForbiddenError, "the NATS server refuses: "),
        ({"max_payload_bytes": 1_000}, "", EngineRefusedError, "takes messages of 1,000 bytes"),
        ({"max_store_bytes": 1_000}, "", EngineRefusedError, "JetStream refuses: insufficient"),
    ],
)
def test_what_the_server_cannot_do_is_said(
    tmp_path: Path,
    folder: Folder,
    options: dict[str, Any],
    user: str,
    error: type[Exception],
    words: str,
) -> None:
    with running_nats(tmp_path / "nats", **options) as server:
        url = server.url.replace("//", f"//{user}")
        with pytest.raises(error, match=words) as raised:
            run(Bridged(folder, NatsOptions(url=url)).bridge.run())
    assert "u:x" not in str(raised.value)


def test_no_server_is_said(folder: Folder) -> None:
    with pytest.raises(EngineError, match=r"^nats://127.0.0.1:1: "):
        run(Bridged(folder, NatsOptions(url="nats://127.0.0.1:1")).bridge.run())


def test_credentials_and_certificates_that_cannot_be_read_are_said(folder: Folder) -> None:
    options = NatsOptions(url="nats+tls://127.0.0.1:1", tls_ca="/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"--tls-ca /nowhere/ca\.pem: No such file"):
        run(Bridged(folder, options).bridge.run())
    options = NatsOptions(url="nats://127.0.0.1:1", creds="/nowhere/creds")
    with pytest.raises(ConfigError, match="--creds /nowhere/creds: No such file"):
        run(Bridged(folder, options).bridge.run())


def test_a_status_and_a_gap_are_messages_of_their_own(bridged: Bridged) -> None:
    async def story() -> None:
        told = bridged.folder.story(2)
        told.channel.publish_status(None, FeedState.LIVE, "open")
        told.channel.publish_status(BTC, FeedState.LIVE, "")
        told.blocks(1)
        bridged.folder.write()
        await passed_on(bridged, 6, epoch_ns=2)
        found = [each for each in records(await messages_of(bridged)) if each.stamp.epoch_ns == 2]
        assert [each.stamp.count for each in found] == [1, 1, 3]
        assert [each.payloads[0][0] for each in found] == [
            FrameKind.STATUS,
            FrameKind.STATUS,
            FrameKind.TRADES,
        ]

    run(story())


def test_asyncio_ends_with_its_bridge(bridged: Bridged) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        assert len(asyncio.all_tasks()) == 1

    run(story())


async def place_of(bridged: Bridged) -> Place:
    async with connected(bridged.options.url) as nats:
        return await ChannelStream(nats, bridged.options, "test").place()


def test_the_end_of_a_stream_is_found_behind_messages_of_others(bridged: Bridged) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        at_end = await place_of(bridged)
        assert (at_end.last, at_end.due) == (4, Position(epoch_ns=1, seq=10))
        prefix = bridged.options.prefix
        async with connected(bridged.options.url) as nats:
            js = nats.jetstream()
            for subject in ("records.JUNK", "records", "header", "snapshot"):
                await js.publish(f"{prefix}.test.{subject}", b"junk")
                assert (await place_of(bridged)).due == Position(epoch_ns=1, seq=10)
            assert (await place_of(bridged)).last == 8

    run(story())


def test_the_end_of_a_stream_is_found_where_its_last_messages_were_removed(
    bridged: Bridged,
) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        async with connected(bridged.options.url) as nats:
            js = nats.jetstream()
            await js.delete_msg(bridged.stats.stream, 4)
            assert (await place_of(bridged)).due == Position(epoch_ns=1, seq=7)
            # The server knows the ids of what was removed for two minutes.
            again = Bridged(bridged.folder, bridged.options)
            async with again.running():
                await until(lambda: again.stats.state is BridgeState.RETRYING)
            assert "the id of one that was removed" in again.stats.why
            await js.purge_stream(bridged.stats.stream)
            assert (await place_of(bridged)).due is None

    run(story())


def test_a_header_decides_where_retention_has_taken_the_records(bridged: Bridged) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        async with connected(bridged.options.url) as nats:
            js = nats.jetstream()
            headers = headers_of(Subject.HEADER, Stamp(epoch_ns=1, seq=10, parts=0))
            await js.publish(f"{bridged.options.prefix}.test.header", b"", headers=headers)
            await js.purge_stream(bridged.stats.stream, seq=5)
        place = await place_of(bridged)
        assert (place.last, place.due) == (5, Position(epoch_ns=1, seq=10))

    run(story())


def test_a_paused_server_is_told_and_leaves_no_hole(
    folder: Folder, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in (
        (publisher, "ACK_S"),
        (nats_connection, "CLOSE_S"),
        (stats, "LAG_LIMIT_S"),
    ):
        monkeypatch.setattr(module, name, 0.3)
    monkeypatch.setattr(connection, "CONNECT_S", 0.3)
    bridged = Bridged(folder, NatsOptions(url=nats_server.url, max_bytes=MAX_BYTES))

    async def story() -> None:
        async with bridged.running():
            await bridged.until(10)
            nats_server.pause()
            folder.story(2).blocks(2)
            folder.write()
            await until(lambda: bridged.stats.waited_s > 0.1)
            assert bridged.stats.window > 0
            await until(lambda: bridged.stats.state is BridgeState.RETRYING)
            assert "did not acknowledge" in bridged.stats.why
            nats_server.resume()
            await bridged.until(7, epoch_ns=2)
        found = await messages_of(bridged)
        assert numbers(found, 1) == list(range(1, 10))
        assert numbers(found, 2) == list(range(1, 7))

    run(story())


def test_a_bridge_with_the_other_way_of_dividing_is_refused(bridged: Bridged) -> None:
    async def story() -> None:
        await passed_on(bridged, 10)
        other = Bridged(bridged.folder, replace(bridged.options, by_symbol=True))
        with pytest.raises(ConfigError, match="was made without --by-symbol: go on like that"):
            await other.bridge.run()

    run(story())


def test_a_message_that_the_server_does_not_take_is_said(bridged: Bridged) -> None:
    async def story() -> None:
        its = SimpleNamespace(max_payload=2_000)
        made = Publisher(its, bridged.options, "s", 0, bridged.stats)  # type: ignore[arg-type]
        assert made.most_bytes(5_000) == 976
        with pytest.raises(EngineRefusedError, match=r"2,000 bytes at the most, and one of s has"):
            await made.publish("a", bytes(1_000), {})

    run(story())


def test_a_password_is_in_no_representation() -> None:
    options = NatsOptions(url="nats://user:secret@a:4222")
    assert repr(options) == "<NatsOptions of nats://a:4222>"
