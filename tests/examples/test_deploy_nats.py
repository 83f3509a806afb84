"""What lies in examples/deploy/nats fits together, and its programs understand it."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from fanout.bridge.nats.options import NatsOptions
from fanout.clients.nats import AsyncioNatsClient, Disconnected
from fanout.protocol import Trade
from fanout.protocol.constants import MAX_FRAME_BYTES
from tests.clients.nats_streams import stand
from tests.fanout.cli.processes import at_once
from tests.stand.nats import NatsServer, Port, nats_command, running_nats

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
CONF = (DEPLOY / "nats" / "nats.conf").read_text()

PASSWORDS = {"BRIDGE_PASSWORD": "b1", "READER_PASSWORD": "r1"}
SERVERS = ["nats-1", "nats-2", "nats-3"]

FIRST_AMID = (2, 12)
"""Of these versions on a mirror can begin where the first messages are gone. Before, it refuses a
message that names one it does not have: nats-server #6961."""


@pytest.fixture(autouse=True)
def _passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PASSWORDS.items():
        monkeypatch.setenv(name, value)


def composed() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "nats" / "compose.yaml").read_text())
    return found


def url_of(bridge: dict[str, Any]) -> str:
    """As Compose has it, with the variables in it."""
    url: str = bridge["environment"]["FANOUT_NATS_URL"]
    for name, value in PASSWORDS.items():
        url = url.replace(f"${{{name}}}", value)
    return url


def block_of(text: str, name: str) -> str:
    """A block of a configuration, up to the brace at the beginning of a line."""
    found = re.search(rf"^{name} \{{\n.*?^\}}\n", text, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[0]


@pytest.mark.parametrize("bridge", ["bridge-1", "bridge-2"])
def test_a_bridge_is_given_options_that_there_are_and_the_servers_that_there_are(
    bridge: str,
) -> None:
    its = composed()["services"][bridge]
    url = url_of(its)
    (port,) = (each for each in its["command"] if each.startswith("--http-port="))
    words = [each if each != port else "--http-port=70000" for each in its["command"]]
    result = at_once(*words, FANOUT_NATS_URL=url)
    # It is looked at last, and nothing has been opened then.
    assert result.returncode == 2
    assert "70000" in result.stderr
    assert NatsOptions(url=url).server == "nats://" + ",".join(f"{each}:4222" for each in SERVERS)
    assert f":{port.partition('=')[2]}/readyz" in its["healthcheck"]["test"][-1]
    assert f"--replicas={len(SERVERS)}" in words


def test_the_service_is_that_of_the_other_file_with_the_volume_that_it_needs() -> None:
    found = composed()
    its = found["services"]["fanout"]["extends"]
    other = yaml.safe_load((DEPLOY / "nats" / its["file"]).read_text())["services"][its["service"]]
    volumes = {each.partition(":")[0] for each in other["volumes"]}
    volumes |= {each.partition(":")[0] for name in SERVERS for each in volumes_of(found, name)}
    assert set(found["volumes"]) == volumes - {"./nats.conf"}


def volumes_of(found: dict[str, Any], name: str) -> list[str]:
    volumes: list[str] = found["services"][name]["volumes"]
    return volumes


def test_the_servers_find_each_other_and_their_store() -> None:
    found = composed()
    assert re.findall(r"nats-route://|nats://(\S+?):6222", CONF) == SERVERS
    assert [name for name in found["services"] if name.startswith("nats-")] == SERVERS
    for name in SERVERS:
        assert f"--name={name}" in found["services"][name]["command"]
        assert f"{name}:/data" in volumes_of(found, name)
        assert "./nats.conf:/etc/nats/nats.conf:ro" in volumes_of(found, name)
        assert set(found["services"][name]["environment"]) == set(PASSWORDS)
    assert "store_dir: /data\n" in CONF
    assert MAX_FRAME_BYTES < 1_000_000
    assert "max_payload: 1MB\n" in CONF


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_accepts_its_command(name: str) -> None:
    command = composed()["services"][name]["command"]
    words = [each.replace("/etc/nats", str(DEPLOY / "nats")) for each in command]
    result = subprocess.run(
        [nats_command(), "-t", *words], capture_output=True, text=True, check=False, timeout=30
    )
    assert result.returncode == 0, result.stderr


def test_a_reader_reads_and_writes_nothing(tmp_path: Path) -> None:
    with running_nats(tmp_path, more=block_of(CONF, "authorization")) as server:
        asyncio.run(_read_and_try_to_write(server.url))


async def _read_and_try_to_write(url: str) -> None:
    errors: asyncio.Queue[str] = asyncio.Queue()

    async def note(error: Exception) -> None:
        errors.put_nowait(str(error))

    bridge = await nats.connect(url, user="bridge", password=PASSWORDS["BRIDGE_PASSWORD"])
    await bridge.jetstream().add_stream(name="s", subjects=["s.>"])
    await bridge.jetstream().publish("s.records", b"x")
    reader = await nats.connect(
        url, user="reader", password=PASSWORDS["READER_PASSWORD"], error_cb=note
    )
    context = reader.jetstream()
    assert (await context.stream_info("s")).state.messages == 1
    assert (await context.get_last_msg("s", "s.records")).data == b"x"
    ordered = await context.subscribe("s.records", stream="s", ordered_consumer=True)
    assert (await ordered.next_msg(5)).data == b"x"
    durable = await context.pull_subscribe(
        "s.records", durable="d", stream="s", config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT)
    )
    (message,) = await durable.fetch(1, timeout=5)
    await message.ack_sync(5)
    await reader.publish("$JS.FC.s.x", b"")  # as an ordered consumer answers flow control
    for forbidden in (
        "s.records",
        "$JS.API.STREAM.DELETE.s",
        "$JS.API.STREAM.PURGE.s",
        "$JS.API.STREAM.CREATE.s",
        "$JS.API.STREAM.UPDATE.KV_fanout-places",
        "$JS.API.STREAM.DELETE.KV_fanout-places",
        "$KV.others.x",
    ):
        await reader.publish(forbidden, b"")
        # The first error is of the first that is forbidden: all before was allowed.
        assert forbidden.lower() in (await asyncio.wait_for(errors.get(), 30)).lower()
    assert (await context.stream_info("s")).state.messages == 1
    await reader.close()
    await bridge.close()


def test_readers_share_work_with_the_rights_of_a_reader(tmp_path: Path) -> None:
    with running_nats(tmp_path, more=block_of(CONF, "authorization")) as server:
        asyncio.run(_share_work(server.url))


async def _share_work(url: str) -> None:
    login = {"user": "bridge", "password": PASSWORDS["BRIDGE_PASSWORD"]}
    async with stand(url, "fanout", **login) as its:
        await its.begin(1, 1)
        address = url.replace("//", f"//reader:{PASSWORDS['READER_PASSWORD']}@")
        assert await AsyncioNatsClient.channels(address) == [its.channel]
        # The second one finds both stores, with the place of the first, which gave its lease back.
        for seq in (1, 2):
            async with AsyncioNatsClient(address, durable="d", start="oldest") as client:
                assert await anext(_trades(client)) == seq


async def _trades(client: AsyncioNatsClient) -> AsyncIterator[int]:
    async for record in client:
        assert not isinstance(record, Disconnected), record.why
        if isinstance(record, Trade):
            yield record.seq


def test_a_mirror_elsewhere_has_the_same_messages_under_the_same_numbers(tmp_path: Path) -> None:
    with (
        closing(Port()) as port,
        running_nats(
            tmp_path / "a", name="a", domain="tokyo", more=f'leafnodes {{ listen: "{port}" }}'
        ) as tokyo,
        running_nats(
            tmp_path / "b",
            name="b",
            domain="frankfurt",
            more=f'leafnodes {{ remotes: [{{ url: "nats-leaf://{port}" }}] }}',
        ) as frankfurt,
    ):
        asyncio.run(_mirrored(tokyo, frankfurt))


def ours_of(message: Msg) -> dict[str, str]:
    """The headers without those for the server that took the message. Newer mirrors remove them."""
    headers = message.headers or {}
    return {name: value for name, value in headers.items() if "-Expected-" not in name}


async def _mirrored(tokyo: NatsServer, frankfurt: NatsServer) -> None:
    config = json.loads((DEPLOY / "nats" / "mirror.json").read_text())
    near, far = await nats.connect(tokyo.url), await nats.connect(frankfurt.url)
    origin, mirror = near.jetstream(), far.jetstream()
    stream = config["name"]
    await origin.add_stream(name=stream, subjects=["fanout.binance.>"])
    for last in range(6):
        headers = {"Nats-Msg-Id": f"1-{last + 1}", "Nats-Expected-Last-Sequence": str(last)}
        if last:
            headers["Nats-Expected-Last-Msg-Id"] = f"1-{last}"
        await origin.publish("fanout.binance.records", b"%d" % last, headers=headers)
    version = far.connected_server_version
    is_whole = (version.major, version.minor) < FIRST_AMID
    if not is_whole:
        await origin.purge_stream(stream, seq=3)  # as retention does
    made = await far.request(
        f"$JS.API.STREAM.CREATE.{stream}", json.dumps({**config, "num_replicas": 1}).encode()
    )
    assert "error" not in json.loads(made.data)
    readers = [
        await each.subscribe("fanout.binance.records", stream=stream, ordered_consumer=True)
        for each in (origin, mirror)
    ]
    for seq in range(1 if is_whole else 3, 7):
        one, other = [await each.next_msg(30) for each in readers]
        assert (one.data, ours_of(one)) == (other.data, ours_of(other))
        assert one.metadata.sequence.stream == other.metadata.sequence.stream == seq
        assert one.metadata.timestamp == other.metadata.timestamp
    await near.close()
    await far.close()
