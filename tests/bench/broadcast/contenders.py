"""The contenders of the stage fan-out: how each is given blocks, and what its clients say and get.

Who has no greeting of its own says something to a client that has come, so that it is known to
be served.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final, Protocol

import msgspec

from fanout.protocol import FrameKind, Heartbeat, encode_event, frame
from fanout.protocol.framing import payloads_of
from fanout.protocol.request import Request, encode_request
from tests.bench.broadcast.blocks import Broadcast, as_frames, as_messages
from tests.bench.broadcast.brokers import NATS, REDIS, Broker
from tests.bench.broadcast.children import launch, program, running
from tests.bench.broadcast.drain import Publication, Reading
from tests.bench.measure import WORK_CORE, start

PLAIN: Final = "fanout, plain"
COMPILED: Final = "fanout, compiled"
LIMIT: Final = "C limit"
NATS_BY_TRADE: Final = "nats-server, a message a trade"

TWINS: Final = ("fanout.protocol._speedups", "fanout._speedups")
"""Modules of compiled twins."""

WINDOW: Final = 2
"""Blocks by which a broker's publisher may be ahead."""


class Work(msgspec.Struct, frozen=True):
    """The same trades in blocks of a size, and in blocks of one, for so many clients."""

    clients: int
    trades: int
    size: int
    frames: list[bytes]
    singles: list[bytes]


class Service(msgspec.Struct, frozen=True):
    """A server that is up: its port, what tells it to begin, and what is published to it, if it
    has its blocks from a publisher."""

    port: int
    begin: Callable[[], None]
    publication: Publication | None = None


class Contender(Protocol):
    @property
    def is_everywhere(self) -> bool:
        """Whether it is measured with every number of clients."""
        ...

    def why_absent(self) -> str:
        """Empty if it is there."""
        ...

    def broadcast(self, work: Work) -> Broadcast | None:
        """What it is given. None if that would be what another contender is given."""
        ...

    def reading(self, work: Work, received: bytes) -> Reading: ...

    def serving(self, work: Work, pieces: Path) -> AbstractContextManager[Service]:
        """A server on the core that is measured, until the end of the block."""
        ...


class Direct(msgspec.Struct, frozen=True):
    """A server that has the blocks beforehand, in a file."""

    made: Callable[[Work, Path], "Popen[str]"]
    needs: tuple[str, ...] = ()
    """Modules that may not have been built."""
    is_everywhere: bool = False

    def why_absent(self) -> str:
        return why_not_built(*self.needs)

    def broadcast(self, work: Work) -> Broadcast:
        return as_frames(work.frames)

    def reading(self, work: Work, received: bytes) -> Reading:
        return Reading(
            clients=work.clients,
            greeting=frame(encode_request(Request())),
            ready=b"",
            expected=received,
            stray_bytes=len(HEARTBEAT),
            without_strays=without_heartbeats,
        )

    @contextmanager
    def serving(self, work: Work, pieces: Path) -> Iterator[Service]:
        with running(self.made(work, pieces)) as child:
            yield Service(int(child.hear()), begin=lambda: child.say("go"))


class Brokered(msgspec.Struct, frozen=True):
    """A broker, to which a message a trade is published, or a message a block."""

    broker: Broker
    is_by_trade: bool
    is_everywhere: bool = False

    def why_absent(self) -> str:
        return self.broker.why_absent

    def broadcast(self, work: Work) -> Broadcast | None:
        if self.is_by_trade:
            return as_messages(self.broker, work.singles, work.size)
        return as_messages(self.broker, work.frames, 1) if work.size > 1 else None

    def reading(self, work: Work, received: bytes) -> Reading:
        stray = self.broker.stray
        return Reading(
            clients=work.clients,
            greeting=self.broker.greeting,
            ready=self.broker.ready,
            expected=received,
            stray_bytes=len(stray),
            without_strays=lambda data: data.replace(stray, b"") if stray else data,
        )

    @contextmanager
    def serving(self, work: Work, pieces: Path) -> Iterator[Service]:
        with self.broker.serving(WORK_CORE) as port:
            publication = Publication(pieces, self.broker.opening, WINDOW)
            yield Service(port, begin=lambda: None, publication=publication)


def why_not_built(*modules: str) -> str:
    """Empty if all of them are there."""
    return ", ".join(f"{each} is not built" for each in modules if find_spec(each) is None)


HEARTBEAT: Final = frame(encode_event(Heartbeat(next_seq=1, time_ns=1)))


def without_heartbeats(data: bytes) -> bytes:
    """What a service sends of its own accord, when a run begins late, is taken out."""
    return b"".join(frame(each) for each in payloads_of(data) if each[0] != FrameKind.HEARTBEAT)


def fanout(work: Work, pieces: Path, *, pure: bool) -> "Popen[str]":
    module = "tests.bench.broadcast.fanout_server"
    arguments = (work.clients, pieces, work.size)
    return start(module, *arguments, core=WORK_CORE, pure=pure, stdin=PIPE)


def tasks(work: Work, pieces: Path) -> "Popen[str]":
    module = "tests.bench.broadcast.task_server"
    return start(module, work.clients, pieces, core=WORK_CORE, stdin=PIPE)


def limit(work: Work, pieces: Path) -> "Popen[str]":
    return launch([program("limit"), work.clients, pieces], core=WORK_CORE)


CONTENDERS: Final[dict[str, Contender]] = {
    PLAIN: Direct(lambda work, pieces: fanout(work, pieces, pure=True), is_everywhere=True),
    COMPILED: Direct(
        lambda work, pieces: fanout(work, pieces, pure=False),
        needs=TWINS,
        is_everywhere=True,
    ),
    LIMIT: Direct(limit, is_everywhere=True),
    "trio, tasks and channels": Direct(tasks),
    NATS_BY_TRADE: Brokered(NATS, is_by_trade=True),
    "nats-server, a message a block": Brokered(NATS, is_by_trade=False),
    "redis-server, a message a trade": Brokered(REDIS, is_by_trade=True),
    "redis-server, a message a block": Brokered(REDIS, is_by_trade=False),
}
