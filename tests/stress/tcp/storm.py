"""Connections in bursts, most of which close at once, at a high and at a low accept rate."""

import random
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from fanout.protocol import EndReason, SlowPolicy, Start
from fanout.transports.tcp.admission import RUSH_RETRY_MS
from tests.bench.report import Row
from tests.stress.tcp.account import Account, request
from tests.stress.tcp.service import ANY_RATE
from tests.stress.tcp.visits import at_once, read, read_answer, reset_at_close, visit, witnessed

BURST: Final = 200
LOW_RATE: Final = 50.0


def run(count: int, seed: int, *, small: bool) -> list[Row]:
    """So many connections at each rate."""
    chance = random.Random(seed)
    served, full = trio.run(_storm, count, chance, ANY_RATE)
    assert not full, f"{full} found no place where there was one"
    served_slowly, refused = trio.run(_storm, count, chance, LOW_RATE)
    assert served_slowly, "a low rate is a rate"
    assert refused, f"{count} connections are more than {LOW_RATE:g} a second"
    return [
        Row(name="clients that stayed and were served", value=served, unit=""),
        Row(name="the same at a low rate", value=served_slowly, unit=""),
        Row(name="told to come back later", value=refused, unit=""),
    ]


async def _storm(count: int, chance: random.Random, accept_rate: float) -> tuple[int, int]:
    """How many were served, and how many were told that there is no place."""
    accounts: list[Account] = []
    async with witnessed(accept_rate=accept_rate) as service:
        for done in range(0, count, BURST):
            size = min(BURST, count - done)
            await at_once(size, [partial(storm_in, service.url, chance, accounts)] * size)
    ends = [each.end for each in accounts if each.end]
    for end in ends:
        assert (end.reason, end.retry_ms) == (EndReason.FULL, RUSH_RETRY_MS), end
    assert all(each.end or each.trades for each in accounts), "who stays is served or told why not"
    return len(accounts) - len(ends), len(ends)


async def storm_in(url: str, chance: random.Random, accounts: list[Account]) -> None:
    """One connection: half of them close at once, some in the middle of a request; the others
    read until they are served or told why not."""
    asked = request(start=Start.OLDEST, slow=SlowPolicy.DISCONNECT)
    async with visit(url) as stream:
        with suppress(trio.BrokenResourceError):  # it has been turned away by now
            match chance.randrange(6):
                case 0 | 1 | 2:
                    pass
                case 3:
                    await stream.send_all(asked[: chance.randrange(1, len(asked))])
                case 4:
                    await stream.send_all(asked[: chance.randrange(1, len(asked))])
                    await read(stream, 1)
                case _:
                    account = Account()
                    accounts.append(account)
                    await stream.send_all(request())
                    await read_answer(stream, account)
        if chance.random() < 0.3:
            reset_at_close(stream)
