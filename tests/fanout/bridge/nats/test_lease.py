"""In a cluster of older servers one bridge at a time has the lease of a channel."""

import asyncio
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.bridge.nats import channel, lease
from fanout.bridge.nats.connection import in_words
from fanout.bridge.nats.lease import Lease, is_needed
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.publisher import FencedError
from fanout.bridge.nats.stats import BridgeState
from fanout.bridge.nats.stream import Place
from fanout.protocol.request import Position
from tests.clients.test_journal import Folder
from tests.fanout.bridge.nats.streams import (
    MAX_BYTES,
    PATIENCE_S,
    Bridged,
    connected,
    kept,
    numbers,
    run,
    until,
)
from tests.stand.nats import NatsServer, running_cluster


@pytest.mark.parametrize(
    ("version", "replicas", "needed"),
    [((2, 9), 3, True), ((2, 11), 3, True), ((2, 12), 3, False), ((2, 9), 1, False)],
)
def test_only_a_cluster_of_older_servers_needs_one(
    version: tuple[int, int], replicas: int, needed: bool
) -> None:
    major, minor = version
    nats = SimpleNamespace(connected_server_version=SimpleNamespace(major=major, minor=minor))
    assert is_needed(nats, replicas) is needed  # type: ignore[arg-type]


def test_one_has_it_until_it_gives_it_back_or_is_gone(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.01)
    options = NatsOptions(url=shared_nats.url, prefix=shared_nats.new_prefix())

    async def story() -> None:
        async with connected(shared_nats.url) as nats:
            one, two = (
                Lease(nats, options, "eu.spot", each, replicas=1) for each in ("one", "two")
            )
            assert await one.take()
            assert not await two.take()
            again = Lease(nats, options, "eu.spot", "one", replicas=1)
            assert await again.take(), "over another connection"
            await again.give_back()
            assert await two.take()
            await one.give_back()
            assert not await one.take(), "what is another's is not given back"
            # As if it had not been renewed in time.
            key = await nats.jetstream().key_value(f"{options.prefix}-bridges")
            await key.put("eu=2Espot", b"somebody else")
            with pytest.raises(FencedError, match="another bridge has the lease"):
                await two.keep()

    run(story())


@pytest.mark.parametrize("waits_for", ["the lease", "the other's end"])
def test_a_bridge_that_stands_by_ends_though_a_request_forgets_its_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits_for: str
) -> None:
    """As nats-py's requests do, where an answer comes together with it."""
    monkeypatch.setattr(channel, "LOOK_EVERY_S", 0.0)
    options = NatsOptions(url="nats://127.0.0.1:9")
    bridge = Bridged(Folder(tmp_path), options).bridge

    async def story() -> None:
        asked = asyncio.Event()

        async def request() -> int:
            forgotten = () if asked.is_set() else (asyncio.CancelledError,)
            with in_words(options), suppress(*forgotten):
                asked.set()
                await asyncio.sleep(PATIENCE_S)
            return 0

        async def place() -> Place:
            return Place(last=1, due=Position(epoch_ns=1, seq=2))

        stub: Any = SimpleNamespace(take=request, last_seq=request, place=place)
        if waits_for == "the lease":
            waiting = asyncio.ensure_future(bridge._wait_for(stub))
        else:
            waiting = asyncio.ensure_future(bridge._stand_by(stub, FencedError("another")))
        await asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting], timeout=PATIENCE_S / 3)
        assert waiting.cancelled()

    run(story())


@pytest.mark.long
def test_two_bridges_on_a_cluster_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "LOOK_EVERY_S", 0.05)
    folder = Folder(tmp_path / "journal", "test")
    folder.story().blocks(3)
    folder.write()
    with running_cluster(tmp_path / "nats") as cluster:
        options = NatsOptions(url=cluster.url, replicas=3, max_bytes=MAX_BYTES)
        one, two = Bridged(folder, options), Bridged(folder, options)

        async def story() -> None:
            async with two.running():
                async with one.running():
                    await until(lambda: 10 in (one.stats.next_seq, two.stats.next_seq))
                    both = {one.stats.state, two.stats.state}
                    assert both >= {BridgeState.PUBLISHING}
                    assert len(both) == 2
                folder.story(2).blocks(2)
                folder.write()
                await two.until(7, epoch_ns=2)
            found = await kept(cluster.servers[0].url, two.stats.stream)
            assert numbers(found, 1) == list(range(1, 10))
            assert numbers(found, 2) == list(range(1, 7))
            # A bridge that was started without --replicas: the stream decides.
            other = replace(options, prefix="other", replicas=1)
            async with connected(cluster.servers[0].url) as nats:
                assert await Lease(nats, other, "test", "one", replicas=3).take()
                bucket = await nats.jetstream().stream_info("KV_other-bridges")
                assert bucket.config.num_replicas == 3

        run(story())
