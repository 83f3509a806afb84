"""`fanout bridge nats`: what it says, and how it ends."""

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.clients.test_journal import Folder
from tests.fanout.bridge.nats.streams import kept, numbers, run
from tests.fanout.cli.processes import at_once, started
from tests.stand.nats import NatsServer, running_nats


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "journal", "test")
    folder.story().blocks(3)
    folder.write()
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument 'ADDRESS...'"),
        (["tcp://a:1", "--url", "http://a"], "--url: 'http://a' is no address of NATS"),
        (["tcp://a:1", "--max-age", "soon"], "--max-age: 'soon' is not a duration"),
        (["tcp://a:1", "--max-bytes", "much"], "--max-bytes: 'much' is not a size"),
        (["tcp://a:1", "--replicas", "7"], "--replicas 7 is out of range: 1 to 5"),
        (["tcp://a:1", "--prefix", "a.b"], "--prefix 'a.b' is no prefix"),
        (["tcp://a:1", "--tls-ca", "x"], "--tls-ca is for TLS"),
        (["tcp://a:1", "--http-port", "99999"], "port 99999"),
        (["tcp://a:1", "tcp://a:1"], "an address is named twice"),
        (["nats://a:1/b"], "a bridge reads a service or a journal"),
        (["udp://a:1"], "'udp://a:1' is not an address"),
        (["nats://a:1/test"], "a bridge reads a service"),
        (["tcp://a:1", "--start", "never"], "never"),
    ],
)
def test_what_cannot_be_is_a_line(arguments: list[str], words: str) -> None:
    done = at_once("bridge", "nats", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") <= 2


def test_it_publishes_until_a_signal(folder: Folder, shared_nats: NatsServer) -> None:
    prefix = shared_nats.new_prefix()
    options = ("--url", shared_nats.url, "--prefix", prefix, "--max-bytes", "16MiB")
    with started("bridge", "nats", folder.url, *options, "--http-port", "0") as bridge:
        url = bridge.until_said("answering").split()[2].rstrip(",")
        assert bridge.until_said("bridging").split()[2] == "test"
        bridge.until_said("made stream")
        status = {"records": 0}
        while status["records"] < 9:
            with urllib.request.urlopen(url) as answer:
                (status,) = json.loads(answer.read())["channels"] or [status]
        with urllib.request.urlopen(url.replace("/status", "/readyz")) as answer:
            assert answer.status == 200
        assert bridge.end(signal.SIGTERM) == 143
    assert numbers(run(kept(shared_nats.url, f"{prefix}-test"))) == list(range(1, 10))


def test_no_server_and_no_entry_are_lines(folder: Folder, tmp_path: Path) -> None:
    with started("bridge", "nats", folder.url, "--url", "nats://127.0.0.1:1") as bridge:
        bridge.until_said("nats://127.0.0.1:1: Connect")
        assert bridge.wait() == 69
    with running_nats(tmp_path / "nats", user="u", password="right") as server:
        url = server.url.replace("//", "//u:wrong@")
        with started("bridge", "nats", folder.url, "--url", url) as bridge:
            bridge.until_said(f"{server.url}: the NATS server refuses: Authorization Violation")
            assert bridge.wait() == 77
            assert "wrong" not in "".join(bridge.said)


def test_one_channel_twice_is_refused(folder: Folder, shared_nats: NatsServer) -> None:
    again = folder.url.removesuffix("/test")
    with started("bridge", "nats", folder.url, again, "--url", shared_nats.url) as bridge:
        bridge.until_said("channel test is named twice")
        assert bridge.wait() == 78
