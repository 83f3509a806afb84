"""The receiving side of the stage fan-out: `c/drain.c`, and what it received, looked into."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.bench.broadcast.children import Child, launch, program, running
from tests.bench.measure import REST_CORE


class Told(msgspec.Struct, frozen=True):
    """What the program says at its end."""

    clocked_ns: int
    clocked_bytes: int
    received_bytes: list[int]


class Publication(msgspec.Struct, frozen=True):
    """What the program is to publish itself: a file of pieces, what it says first, and by how many
    pieces it may be ahead of the clients."""

    pieces: Path
    opening: bytes
    window: int


class Reading(msgspec.Struct, frozen=True):
    """So many clients, what each says, what it is told when it is ready, and the bytes that it
    receives then. In between there may be strays: what `without_strays` takes out."""

    clients: int
    greeting: bytes
    ready: bytes
    expected: bytes
    stray_bytes: int = 0
    without_strays: Callable[[bytes], bytes] = bytes


class Drain:
    """The program, connected to a server."""

    def __init__(self, child: Child, reading: Reading, kept: int, received: Path) -> None:
        self._child = child
        self._reading = reading
        self._kept = kept
        self._received = received

    def start(self) -> None:
        """Begin to count, and to publish if that is its part."""
        assert self._child.hear() == "settled"
        self._child.say("go")
        assert self._child.hear() == "counting"

    def seconds(self) -> float:
        """How long all bytes take, at the pace of those that were clocked. Raises `ValueError` if
        they are not those that were to come."""
        told = msgspec.json.decode(self._child.hear(), type=Told)
        for index, size in enumerate(told.received_bytes):
            self._check_size(index, size)
        received, expected = self._received.read_bytes(), self._reading.expected
        if expected not in (received, self._reading.without_strays(received)):
            raise ValueError(f"client {self._kept} received other bytes than were sent")
        all_bytes = len(expected) * self._reading.clients
        return told.clocked_ns / 1e9 * all_bytes / told.clocked_bytes

    def _check_size(self, index: int, size: int) -> None:
        surplus = size - len(self._reading.expected)
        stray = self._reading.stray_bytes
        if surplus < 0 or (surplus % stray if stray else surplus):
            due = len(self._reading.expected)
            raise ValueError(f"client {index} received {size:,} bytes, and {due:,} were sent")


@contextmanager
def draining(
    port: int, reading: Reading, received: Path, kept: int, publication: Publication | None
) -> Iterator[Drain]:
    """Clients of a server, on the core that is not measured. What client `kept` receives goes to
    the file `received`."""
    command: list[object] = [program("drain"), port, reading.clients, reading.greeting.hex()]
    command += [reading.ready.hex(), len(reading.expected), kept, received]
    if publication is not None:
        command += [publication.pieces, publication.opening.hex(), publication.window]
    with running(launch(command, core=REST_CORE)) as child:
        yield Drain(child, reading, kept, received)
