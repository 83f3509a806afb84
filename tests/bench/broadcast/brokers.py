"""nats-server and redis-server as rivals: how each is set up, and what is said to it.

Both are spoken with in their own protocols, whose few words are written out here, so that no
client library stands in their way. Nothing is kept on a disk, and nobody is cut off for being slow.
"""

import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.broadcast.children import PATIENCE_S, launch, running

ATTEMPTS: Final = 5
"""At a port of redis-server's, which takes none that is free by itself."""

LOOK_S: Final = 0.01


class Broker(msgspec.Struct, frozen=True, kw_only=True):
    """A server that hands on what is published to whoever has subscribed, to one subject."""

    program: str
    serving: Callable[[int], AbstractContextManager[int]]
    """Given a core: the port, until the end of the block."""
    greeting: bytes
    """What a subscriber says."""
    ready: bytes
    """What it is told once it has subscribed."""
    stray: bytes
    """What a subscriber may be told at any time."""
    opening: bytes
    """What a publisher says first."""
    publish: Callable[[bytes], bytes]
    """What it says to publish a payload."""
    deliver: Callable[[bytes], bytes]
    """What a subscriber gets then."""

    @property
    def why_absent(self) -> str:
        """Empty if it is there."""
        return "" if shutil.which(self.program) else f"{self.program} is not on the PATH"


@contextmanager
def nats(core: int) -> Iterator[int]:
    """With one thread at a time, since it has one core."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["nats-server", "--addr", "127.0.0.1", "--port", "-1"]
        command += ["--ports_file_dir", directory, "--log", "/dev/null"]
        with running(launch(command, core=core, environment={"GOMAXPROCS": "1"})):
            yield _told_port(Path(directory))


def _told_port(directory: Path) -> int:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        for told in directory.glob("*.ports"):
            text = told.read_bytes()
            if text.endswith(b"}"):  # it is there before it is written
                (url,) = json.loads(text)["nats"]
                return int(url.rpartition(":")[2])
        time.sleep(LOOK_S)
    raise RuntimeError("nats-server does not say where it listens")


@contextmanager
def redis(core: int) -> Iterator[int]:
    """Everything in one thread, as it is by itself."""
    for _ in range(ATTEMPTS):
        port = _free_port()
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", ""]
        command += ["--client-output-buffer-limit", "pubsub 0 0 0", "--logfile", "/dev/null"]
        process = launch(command, core=core)
        with running(process):
            while process.poll() is None:
                if _answers(port):
                    yield port
                    return
                time.sleep(LOOK_S)
    raise RuntimeError("redis-server finds no port to listen on")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


def _resp(*words: bytes) -> bytes:
    """As Redis writes a list of words, in either direction."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


NATS: Final = Broker(
    program="nats-server",
    serving=nats,
    greeting=b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB t 1\r\nPING\r\n',
    ready=b"PONG\r\n",
    stray=b"PING\r\n",
    opening=b'CONNECT {"verbose":false,"pedantic":false}\r\n',
    publish=lambda payload: b"PUB t %d\r\n%b\r\n" % (len(payload), payload),
    deliver=lambda payload: b"MSG t 1 %d\r\n%b\r\n" % (len(payload), payload),
)

REDIS: Final = Broker(
    program="redis-server",
    serving=redis,
    greeting=_resp(b"SUBSCRIBE", b"t"),
    ready=b":1\r\n",
    stray=b"",
    opening=b"CLIENT REPLY OFF\r\n",
    publish=lambda payload: _resp(b"PUBLISH", b"t", payload),
    deliver=lambda payload: _resp(b"message", b"t", payload),
)
