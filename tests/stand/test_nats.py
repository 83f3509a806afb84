"""The NATS servers that other tests use: they come up, come back, and leave nothing behind."""

import asyncio
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.errors import APIError

from tests.stand.nats import NatsServer, nats_command, running_cluster, running_nats

ROOT = Path(__file__).parents[2]
HELLO = b'CONNECT {"verbose":false}\r\nPING\r\n'


async def connected(server: NatsServer, **options: Any) -> Client:
    client = Client()
    await client.connect(server.url, allow_reconnect=False, connect_timeout=10, **options)
    return client


@contextmanager
def greeted(server: NatsServer) -> Iterator[socket.socket]:
    """A connection on which the server has said its first line."""
    host, _, port = server.url.removeprefix("nats://").rpartition(":")
    with socket.create_connection((host, int(port)), 10) as client:
        assert client.recv(4_096).startswith(b"INFO ")
        yield client


def said(client: socket.socket, line: bytes) -> bytes:
    """What the server answers."""
    client.sendall(line)
    return client.recv(4_096)


async def published(server: NatsServer, stream: str, count: int = 1) -> int:
    """How many messages a stream has once so many more are in it."""
    client = await connected(server)
    context = client.jetstream()
    await context.add_stream(name=stream, subjects=[f"{stream}.>"])
    for _ in range(count):
        acknowledgement = await context.publish(f"{stream}.records", b"x")
    await client.close()
    return acknowledgement.seq


def test_a_server_that_was_killed_comes_back_at_the_same_address_with_its_streams(
    nats_server: NatsServer,
) -> None:
    url = nats_server.url
    assert asyncio.run(published(nats_server, "s", 2)) == 2
    nats_server.kill()
    with pytest.raises(ConnectionRefusedError), greeted(nats_server):
        pass
    nats_server.restart()
    assert nats_server.url == url
    assert asyncio.run(published(nats_server, "s")) == 3


def test_a_server_that_is_paused_answers_once_it_is_resumed(nats_server: NatsServer) -> None:
    with greeted(nats_server) as client:
        assert said(client, HELLO) == b"PONG\r\n"
        nats_server.pause()
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            said(client, b"PING\r\n")
        client.settimeout(10)
        nats_server.resume()
        assert client.recv(100) == b"PONG\r\n"


def test_tests_share_a_server_with_prefixes_of_their_own(shared_nats: NatsServer) -> None:
    first, second = shared_nats.new_prefix(), shared_nats.new_prefix()
    assert first != second
    assert [asyncio.run(published(shared_nats, each)) for each in (first, second)] == [1, 1]


def test_options_ask_for_a_password_and_limit_messages_and_the_store(tmp_path: Path) -> None:
    limits = {"max_payload_bytes": 1_000, "max_store_bytes": 10_000}
    with running_nats(tmp_path, user="a", password="b c", **limits) as server:
        with greeted(server) as stranger:
            assert b"Authorization" in said(stranger, HELLO)

        async def play() -> None:
            client = await connected(server, user="a", password="b c")
            assert client.max_payload == 1_000
            with pytest.raises(APIError, match="insufficient storage"):
                await client.jetstream().add_stream(name="s", max_bytes=20_000)
            await client.close()

        asyncio.run(play())


def test_a_server_without_jetstream_keeps_no_stream(tmp_path: Path) -> None:
    with running_nats(tmp_path, has_jetstream=False) as server:
        assert not server.ask("jsz").get("config", {}).get("store_dir")


def test_nothing_is_left_of_a_server(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        asyncio.run(published(server, "s"))
    assert not server.is_running
    assert sorted(each.name for each in tmp_path.iterdir()) == ["n1.conf", "n1.log"]


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = f"""if True:
        import pathlib, time
        from tests.stand.nats import running_nats
        with running_nats(pathlib.Path({str(tmp_path)!r})) as server:
            print(server.pid, flush=True)
            time.sleep(60)"""
    nats_command()
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as test:
        assert test.stdout is not None
        server = os.pidfd_open(int(test.stdout.readline()))
        test.kill()
    try:
        ended, _, _ = select.select([server], [], [], 10)
    finally:
        os.close(server)
    assert ended


def test_a_cluster_keeps_a_stream_of_three_replicas_without_one_of_its_servers(
    tmp_path: Path,
) -> None:
    with running_cluster(tmp_path) as cluster:

        async def play() -> None:
            client = await connected(cluster.servers[0])
            context = client.jetstream()
            made = await context.add_stream(name="s", subjects=["s.>"], num_replicas=3)
            assert made.cluster is not None
            assert len(made.cluster.replicas or ()) == 2
            others = cluster.servers[1:]
            follower = next(each for each in others if each.name != made.cluster.leader)
            follower.kill()
            assert (await context.publish("s.records", b"x")).seq == 1
            await client.close()

        asyncio.run(play())


def test_without_the_program_a_test_is_skipped_or_fails_where_it_should_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.stand.nats.shutil.which", lambda *_, **__: None)
    monkeypatch.delenv("FANOUT_REQUIRE_NATS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nats-server is not installed"):
        nats_command()
    monkeypatch.setenv("FANOUT_REQUIRE_NATS", "1")
    with pytest.raises(pytest.fail.Exception, match="nats-server is not installed"):
        nats_command()
