"""A real nats-server for tests: alone, or three of them as a cluster.

    with running_nats(tmp_path / "nats") as server:
        ...                                     # it has JetStream, and listens at server.url
        server.kill()
        server.restart()                        # at the same address, with the same store

A server is a process on loopback. Its store is a folder that is removed at the end. The test holds
the server's ports from first to last, so no other process is given one of them while the server is
dead. The kernel kills the server if the thread that started it ends: start it in the main thread.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

LOOPBACK: Final = "127.0.0.1"
PATIENCE_S: Final = 30.0
SIZE: Final = 3
"""Servers of a cluster."""

_ANSWER_S: Final = 0.5
_POLL_S: Final = 0.005
_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")
_ADMIN_FOLDERS: Final = "/usr/local/sbin:/usr/sbin"
"""Where Debian puts the server. The PATH of a user may leave them out."""


def installed_nats() -> str | None:
    """The path of nats-server; None where it is missing."""
    path = f"{os.environ.get('PATH', '')}:{_ADMIN_FOLDERS}"
    return shutil.which("nats-server", path=path)


def nats_command() -> str:
    """The path of nats-server. Where it is missing the test is skipped, unless this machine should
    have it, as FANOUT_REQUIRE_NATS=1 says: then it fails."""
    if found := installed_nats():
        return found
    reason = "nats-server is not installed (Debian: apt-get install nats-server)"
    if os.environ.get("FANOUT_REQUIRE_NATS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class NatsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a server's configuration says, beside its addresses."""

    name: str = "n1"
    has_jetstream: bool = True
    user: str = ""
    """Who may sign in, with `password`; anybody if empty."""
    password: str = ""
    max_payload_bytes: int | None = None
    max_store_bytes: int | None = None
    """Limits of a message, and of all streams together. Without them the server's own hold."""
    domain: str = ""
    """The domain of its JetStream."""
    more: str = ""
    """More lines of its configuration."""


class Port:
    """A port of loopback that nobody else is given, whether a server listens there or not.

    A socket that is bound and never listens keeps the port from the kernel's choice. With
    SO_REUSEADDR on both sides it lets another process listen there.
    """

    def __init__(self) -> None:
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((LOOPBACK, 0))
        self.number: int = self._held.getsockname()[1]

    def __str__(self) -> str:
        return f"{LOOPBACK}:{self.number}"

    def close(self) -> None:
        self._held.close()


class NatsServer:
    """A server, which can be killed, paused and restarted. `running_nats` starts it and ends it."""

    def __init__(self, directory: Path, options: NatsOptions, cluster: Sequence[Port] = ()) -> None:
        """`cluster` has the ports for routes of all its members, this one's first."""
        self.options = options
        self.name = options.name
        self.directory = directory
        self._command = nats_command()
        self._cluster = cluster
        self._client, self._monitor = Port(), Port()
        self._process: subprocess.Popen[bytes] | None = None
        self._prefixes = itertools.count(1)

    @property
    def url(self) -> str:
        return f"nats://{self._client}"

    @property
    def monitor_url(self) -> str:
        """Where the server answers over HTTP how it is."""
        return f"http://{self._monitor}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> list[str]:
        """The lines of its log, over all its starts."""
        return self._log.read_text(errors="replace").splitlines()

    def new_prefix(self) -> str:
        """A prefix for streams that no other test at this server has."""
        return f"t{next(self._prefixes)}"

    def start(self) -> None:
        """Start it, and return once it takes clients, and they can use its streams."""
        self.begin()
        self.until_ready()

    def begin(self) -> None:
        """The same without waiting for it."""
        assert not self.is_running, f"{self.name} runs already"
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / f"{self.name}.conf"
        config.write_text("\n".join(self._lines()))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_DIES_WITH_US, self._command, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def until_ready(self) -> None:
        until(self._is_ready, self)

    def kill(self) -> None:
        """By SIGKILL, also while it is paused."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order."""
        self.resume()
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it if it still runs, and start it at the same address with the same store."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Return once it is stopped. Its connections stay open, and it does not answer."""
        if self.is_running:
            assert self._process is not None
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        if self.is_running:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it, and remove its store and its ports."""
        self.kill()
        shutil.rmtree(self._store, ignore_errors=True)
        self._client.close()
        self._monitor.close()

    def ask(self, path: str) -> dict[str, Any]:
        """What it answers over HTTP, such as to `jsz`. Raises `OSError` if nothing."""
        with urllib.request.urlopen(f"{self.monitor_url}/{path}", timeout=_ANSWER_S) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    @property
    def _log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def _store(self) -> Path:
        return self.directory / f"{self.name}.store"

    def _lines(self) -> Iterator[str]:
        options = self.options
        yield f"server_name: {options.name}"
        yield f'listen: "{self._client}"'
        yield f'http: "{self._monitor}"'
        if options.max_payload_bytes is not None:
            yield f"max_payload: {options.max_payload_bytes}"
        if options.user:
            yield f'authorization {{ user: "{options.user}", password: "{options.password}" }}'
        if options.has_jetstream:
            store = f'store_dir: "{self._store}"'
            limit = options.max_store_bytes
            domain = f", domain: {options.domain}" if options.domain else ""
            store += "" if limit is None else f", max_file_store: {limit}"
            yield f"jetstream {{ {store}{domain} }}"
        yield options.more
        if self._cluster:
            own, *others = self._cluster
            routes = ", ".join(f'"nats-route://{each}"' for each in others)
            yield f'cluster {{ name: stand, listen: "{own}", routes: [{routes}] }}'

    def _is_ready(self) -> bool:
        """A server listens once it has read its streams. It then greets with a line of JSON."""
        assert self.is_running, "\n".join([f"{self.name} ended", *self.said[-9:]])
        try:
            with socket.create_connection((LOOPBACK, self._client.number), _ANSWER_S) as client:
                greeting = client.makefile("rb").readline()
        except OSError:
            return False
        has_jetstream: bool = json.loads(greeting.removeprefix(b"INFO ") or "{}").get("jetstream")
        return bool(greeting) and bool(has_jetstream) == self.options.has_jetstream

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)


class NatsCluster:
    """Three servers, which keep a stream of three replicas as long as two of them run."""

    def __init__(self, directory: Path) -> None:
        self._routes = [Port() for _ in range(SIZE)]
        self.servers = [
            NatsServer(
                directory,
                NatsOptions(name=f"n{place + 1}"),
                [*self._routes[place:], *self._routes[:place]],
            )
            for place in range(SIZE)
        ]

    @property
    def url(self) -> str:
        """The addresses of all servers, with commas between them."""
        return ",".join(each.url for each in self.servers)

    def start(self) -> None:
        """Return once streams of three replicas can be made."""
        for each in self.servers:
            each.begin()
        for each in self.servers:
            each.until_ready()
        until(lambda: self.leader is not None, *self.servers)

    def close(self) -> None:
        for each in self.servers:
            each.close()
        for port in self._routes:
            port.close()

    @property
    def leader(self) -> NatsServer | None:
        """The server that places streams; None as long as it does not know all running ones to be
        up to date."""
        running = {each.name for each in self.servers if each.is_running}
        for each in self.servers:
            try:
                found = each.ask("jsz").get("meta_cluster", {})
            except OSError:
                continue
            if found.get("leader") == each.name:
                current = {peer["name"] for peer in found.get("replicas", ()) if peer["current"]}
                return each if {*current, each.name} >= running else None
        return None


def until(condition: Callable[[], bool], *servers: NatsServer) -> None:
    """Ask again and again. Fails with what the servers said."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        said = [line for each in servers for line in each.said[-9:]]
        assert time.monotonic() < deadline_s, "\n".join(["the server does not answer", *said])
        time.sleep(_POLL_S)


@contextmanager
def running_nats(directory: Path, **options: Any) -> Iterator[NatsServer]:
    """A server of its own, with `NatsOptions`."""
    server = NatsServer(directory, NatsOptions(**options))
    with ExitStack() as stack:
        stack.callback(server.close)
        server.start()
        yield server


@contextmanager
def running_cluster(directory: Path) -> Iterator[NatsCluster]:
    cluster = NatsCluster(directory)
    with ExitStack() as stack:
        stack.callback(cluster.close)
        cluster.start()
        yield cluster
