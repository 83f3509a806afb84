"""The contenders of the stage latency: services between a venue and clients."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from functools import partial
from typing import Final

import msgspec

from fanout.protocol import frame
from fanout.protocol.request import Request, encode_request
from tests.bench.broadcast.brokers import NATS
from tests.bench.broadcast.children import running
from tests.bench.broadcast.contenders import COMPILED, PLAIN, TWINS, why_not_built
from tests.bench.measure import WORK_CORE, start

PROGRAMS: Final = "tests.bench.broadcast"


class Reads(Enum):
    """What a contender's clients read."""

    FRAMES = auto()
    NATS = auto()


class Service(msgspec.Struct, frozen=True):
    """A service that is up, or about to be."""

    port: Callable[[], int]
    """Where clients find it; waits until they do."""
    await_ready: Callable[[], None]
    """Wait until clients have joined."""


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """A service on the core that is measured, and what its clients say, and are told once they
    have joined."""

    serving: Callable[[int, int], AbstractContextManager[Service]]
    """Given the venue's port and a number of clients."""
    reads: Reads = Reads.FRAMES
    greeting: bytes = frame(encode_request(Request()))
    ready: bytes = b""
    """Anything at all, if empty."""
    why_absent: Callable[[], str] = str
    """Empty if it is there."""
    is_to_be_beaten: bool = False
    """By fanout, at every percentile."""
    is_extra: bool = False
    """Left out where time is short."""


def _ready(word: str) -> None:
    assert word == "ready", word


@contextmanager
def _one_program(name: str, venue_port: int, clients: int, *, pure: bool) -> Iterator[Service]:
    process = start(f"{PROGRAMS}.{name}", venue_port, clients, core=WORK_CORE, pure=pure)
    with running(process) as child:
        yield Service(lambda: int(child.hear()), lambda: _ready(child.hear()))


@contextmanager
def _nats(unit: str, venue_port: int, clients: int) -> Iterator[Service]:
    with NATS.serving(WORK_CORE) as port:
        bridge = start(f"{PROGRAMS}.nats_bridge", venue_port, port, unit, core=WORK_CORE)
        with running(bridge) as child:
            yield Service(lambda: port, lambda: _ready(child.hear()))


SERVICES: Final[dict[str, Contender]] = {
    PLAIN: Contender(
        serving=lambda port, clients: _one_program("fanout_service", port, clients, pure=True)
    ),
    COMPILED: Contender(
        serving=lambda port, clients: _one_program("fanout_service", port, clients, pure=False),
        why_absent=partial(why_not_built, *TWINS),
    ),
    "nats-server, a message a trade": Contender(
        serving=partial(_nats, "trade"),
        reads=Reads.NATS,
        greeting=NATS.greeting,
        ready=NATS.stray,
        why_absent=lambda: NATS.why_absent,
        is_to_be_beaten=True,
    ),
    "nats-server, a message a burst": Contender(
        serving=partial(_nats, "burst"),
        reads=Reads.NATS,
        greeting=NATS.greeting,
        ready=NATS.stray,
        why_absent=lambda: NATS.why_absent,
        is_extra=True,
    ),
    "trio, tasks and channels": Contender(
        serving=lambda port, clients: _one_program("task_service", port, clients, pure=False),
        is_to_be_beaten=True,
    ),
}
