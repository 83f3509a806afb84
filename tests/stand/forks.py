"""Processes of `fanout` that start in a hundredth of a second: forks of a server that has imported
all of it.

A test process starts its server with the first fork. The server never runs anything itself, has
one thread, and forks for each request. Each fork is the command line as `python -m fanout` would be
from there on: its own standard streams, environment and directory, signals as at a start, and the
end of the interpreter. What a start itself does is the business of the tests that start a real
process.
"""

import atexit
import gc
import os
import pkgutil
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

import msgspec

ROOT: Final = Path(__file__).parents[2]
MAX_REQUEST_BYTES: Final = 128 * 1024
STREAMS: Final = 3
"""File descriptors of a request: standard output, standard error, and the one for the end."""

INHERITED: Final = ("FANOUT_PURE", "PYTHON", "LD_", "LC_", "LANG", "TZ")
"""Beginnings of variables that act before a fork would see them."""


class Request(msgspec.Struct, frozen=True):
    arguments: tuple[str, ...]
    environment: dict[str, str]
    directory: str


class Forked:
    """A running command, with the members of `subprocess.Popen` that the tests use."""

    def __init__(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        """With a `log` its standard error goes there, and nobody reads its standard output."""
        self.args = ["fanout", *arguments]
        self.returncode: int | None = None
        out, theirs_out = os.pipe() if log is None else _file(Path(os.devnull))
        err, theirs_err = os.pipe() if log is None else _file(log)
        self._end, theirs_end = os.pipe()
        self.stdout: IO[str] = os.fdopen(out)
        self.stderr: IO[str] = os.fdopen(err)
        request = msgspec.json.encode(Request(arguments, dict(environment), os.getcwd()))
        theirs = [theirs_out, theirs_err, theirs_end]
        socket.send_fds(_server(), [request], theirs)
        for each in theirs:
            os.close(each)
        self.pid = int(os.read(self._end, 20))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and its server is about to say so
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """All that is still written, and wait for the end."""
        deadline_s = time.monotonic() + timeout
        rest: dict[IO[str], list[bytes]] = {self.stdout: [], self.stderr: []}
        with selectors.DefaultSelector() as open_ones:
            for each in rest:
                if not each.closed:
                    open_ones.register(each, selectors.EVENT_READ)
            while open_ones.get_map():
                ready = open_ones.select(max(0.0, deadline_s - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                for key, _ in ready:
                    data = os.read(key.fd, 65_536)
                    rest[key.fileobj].append(data)  # type: ignore[index]
                    if not data:
                        open_ones.unregister(key.fileobj)
        self.wait(max(0.0, deadline_s - time.monotonic()))
        out, err = (b"".join(each).decode(errors="replace") for each in rest.values())
        return out, err

    def _ended(self, within_s: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as ended:
                ended.register(self._end, selectors.EVENT_READ)
                if ended.select(within_s):
                    self.returncode = int(os.read(self._end, 20))
                    os.close(self._end)
        return self.returncode


def _file(path: Path) -> tuple[int, int]:
    """A file, to read and to write."""
    writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    return os.open(path, os.O_RDONLY), writing


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a fork of the server is what a process with this environment would be."""
    return all(
        environment.get(name) == os.environ.get(name)
        for name in {*environment, *os.environ}
        if name.startswith(INHERITED)
    )


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.stand.forks", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
        )
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours


# In the server --------------------------------------------------------------------------------


class _Fork(NamedTuple):
    """What a fork has to become."""

    request: Request
    descriptors: list[int]


def _serve(control: socket.socket) -> _Fork | None:
    """Fork for each request until the test process is gone. Returns in every fork."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, int] = {}
    with selectors.DefaultSelector() as events:
        events.register(control, selectors.EVENT_READ)
        events.register(ended, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.fd == ended:
                    os.read(ended, 4_096)
                    _reap(ends)
                    continue
                body, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, STREAMS)
                if not body:
                    return None
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for each in (*ends.values(), descriptors[2], ended, wake):
                        os.close(each)
                    control.close()
                    return _Fork(msgspec.json.decode(body, type=Request), descriptors[:2])
                out, err, ends[pid] = descriptors
                os.close(out)
                os.close(err)
                os.write(ends[pid], str(pid).encode())


def _reap(ends: dict[int, int]) -> None:
    """Tell the ends of forks to who waits for them."""
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        end = ends.pop(pid)
        os.write(end, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(end)


def _become(fork: _Fork) -> None:
    """Take over the streams, the environment and the directory."""
    for number, descriptor in enumerate(fork.descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(fork.request.environment)
    os.chdir(fork.request.directory)
    sys.argv = ["fanout", *fork.request.arguments]
    random.seed()


def _import_all() -> None:
    """Import what a command would, also what libraries import when a command is called first."""
    import fanout
    from fanout.cli import main

    for module in pkgutil.walk_packages(fanout.__path__, "fanout."):
        if not module.name.endswith("__main__") and "columns" not in module.name:
            import_module(module.name)
    sys.argv = ["fanout", "tcp", "--port", "x"]
    with suppress(SystemExit), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        main()
    gc.freeze()  # nothing of it will ever go


if __name__ == "__main__":
    _control = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    _fork = _serve(_control)
    if _fork is not None:
        _become(_fork)
        from fanout.cli import main

        main()
