"""Age of a trade when the last of 100 clients has it.

Workload: the busiest seconds of `btcusdt_20240808.gz` and `ethusdt_20240808.gz`, merged as
received, at the recorded pace (four seconds of the recording) and at ten times that pace (thirty
seconds). Some of the recording before them runs uncounted. One program in C on the other core,
`c/replay.c`, is the exchange and all clients, with one clock. A trade's age starts when its message
is due at the exchange's socket, whether or not it can be sent then: the replay waits for nobody, so
no delay hides another. The age ends with the read that completes the trade's block or message at
the last client. The program never sleeps. The stage compares what one client received with the
recording, trade by trade, and all clients must receive as many bytes.

- fanout: the service's complete path, from `open_websocket` to the TCP transport.
- nats-server and a bridge, on one core, as fanout is. The bridge reads the exchange with fanout's
  own code and publishes each message unparsed, a burst in one write. The usual way with NATS is a
  message a trade, which clients parse themselves. A message a burst, whose lines are the
  exchange's, is measured too.
- tasks and channels: a first solution with trio. fanout's own code reads, parses and encodes,
  without a feed and a log; each client has a task and a bounded channel of blocks.

nats-server greets each connection with a PING after some two seconds. The stage waits for it, so
that all NATS clients receive the same bytes from then on.

Goals: fanout, with the compiled twins if they are built, beats nats-server with a message a trade,
and tasks and channels, at every percentile.
"""

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.broadcast.contenders import COMPILED, PLAIN
from tests.bench.broadcast.recording import Message, recorded, replayed
from tests.bench.broadcast.replay import Replay, latencies_ns
from tests.bench.broadcast.services import SERVICES, Contender
from tests.bench.measure import in_rounds, ratios
from tests.bench.report import Absent, Row, figure

PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

CLIENTS: Final = 100
SPANS_S: Final = {1: 4.0, 10: 3.0}
"""How long it is played, by speed."""
LEAD_S: Final = 0.5
"""How long it is played before that."""
ROUNDS: Final = 3

SMALL_CLIENTS: Final = 10
SMALL_SPANS_S: Final = {10: 0.3}

Percentiles = dict[str, float]
"""Of one run, in µs."""


def run(*, small: bool) -> list[Row | Absent]:
    """Microseconds by contender, speed and percentile. See `tests.bench.report.Stage`."""
    wanted = {name: each for name, each in SERVICES.items() if not (small and each.is_extra)}
    absent = {name: each.why_absent() for name, each in wanted.items()}
    present = {name: each for name, each in wanted.items() if not absent[name]}
    clients, rounds = (SMALL_CLIENTS, 1) if small else (CLIENTS, ROUNDS)
    messages = recorded()
    rows: list[Row | Absent] = []
    for speed, span_s in (SMALL_SPANS_S if small else SPANS_S).items():
        lead_s = span_s / 5 if small else LEAD_S
        part, before = replayed(messages, span_s=span_s, lead_s=lead_s, speed=speed)
        samples = measured(present, part, before, clients=clients, rounds=rounds)
        rows += rows_of(f"{speed}x", samples)
    return [*rows, *(Absent(name, why) for name, why in absent.items() if why)]


def measured(
    contenders: Mapping[str, Contender],
    messages: list[Message],
    before: int,
    *,
    clients: int,
    rounds: int,
) -> dict[str, list[Percentiles]]:
    """What each contender gives, round by round."""
    with tempfile.TemporaryDirectory() as directory:
        replay = Replay(clients, messages, before, Path(directory))
        runs = {name: partial(sample, replay, each) for name, each in contenders.items()}
        # A service is warm when the part begins that counts.
        return in_rounds(runs, rounds, warm_up=False)


def sample(replay: Replay, contender: Contender) -> Percentiles:
    """One run."""
    ages_us = sorted(latencies_ns(replay, contender) / 1000)
    last = len(ages_us) - 1
    return {name: float(ages_us[round(last * at)]) for name, at in PERCENTILES.items()}


def rows_of(label: str, samples: Mapping[str, list[Percentiles]]) -> Iterator[Row]:
    """What was measured at one speed, and then how far the others are behind."""
    ours = COMPILED if COMPILED in samples else PLAIN
    for name in samples:
        for percentile in PERCENTILES:
            yield figure(f"{name}, {label}, {percentile}", _of(samples[name], percentile), "µs")
    for name in (each for each in samples if SERVICES[each].is_to_be_beaten):
        for percentile in PERCENTILES:
            times = ratios(_of(samples[name], percentile), _of(samples[ours], percentile))
            yield figure(f"{name} / {ours}, {label}, {percentile}", times, "times", at_least=1)


def _of(samples: list[Percentiles], percentile: str) -> list[float]:
    return [each[percentile] for each in samples]
