"""Notifications to systemd, received on a socket like systemd's."""

import errno
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fanout.net.systemd import Notifier
from tests.fanout.cli.processes import started


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(20)
        yield sock


def heard(manager: socket.socket) -> list[str]:
    """What has been said and not read yet."""
    manager.setblocking(False)
    words = []
    with suppress(BlockingIOError):
        while True:
            words.append(manager.recv(4096).decode())
    return words


def test_systemd_is_notified_of_ready_alive_and_stopping(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "notify")
    watched = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000"}
    with listening(path) as manager:
        arguments = ("--venue", "sim", "--http-port", "0", "tcp", "--port", "0")
        with started(*arguments, **watched) as service:
            words = []
            while not words or not words[-1].startswith("READY=1"):
                words.append(manager.recv(4096).decode())
            assert "STATUS=serving BTCUSDT, ETHUSDT" in words[-1].splitlines()
            service.until_said("serving")
            assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            assert service.end(signal.SIGTERM) == 143
        assert "STOPPING=1" in "\n".join(heard(manager)).splitlines()


def test_an_abstract_socket_address_begins_with_an_at_sign(tmp_path: Path) -> None:
    name = f"fanout-{uuid.uuid4().hex}"
    with listening(f"\0{name}") as manager:
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready("x")
        assert manager.recv(4096) == b"READY=1\nSTATUS=x"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere"}])
def test_without_systemd_no_notification_is_sent(
    environment: dict[str, str],
) -> None:
    notifier = Notifier(environment)
    notifier.ready("x")
    notifier.stopping()


def test_a_notification_without_a_free_descriptor_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_socket(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", no_socket)
    Notifier({"NOTIFY_SOCKET": "/run/systemd/notify"}).stopping()


@pytest.mark.parametrize(
    ("environment", "is_watched"),
    [
        ({"WATCHDOG_USEC": "1000000"}, True),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
async def test_the_watchdog_is_notified_only_if_it_watches_this_process(
    autojump_clock: MockClock, tmp_path: Path, environment: dict[str, str], is_watched: bool
) -> None:
    path = str(tmp_path / "notify")
    with listening(path) as manager:
        with trio.move_on_after(3):  # a socket holds ten words
            await Notifier({"NOTIFY_SOCKET": path, **environment}).keep_alive()
        assert heard(manager) == ["WATCHDOG=1"] * (8 if is_watched else 0)
