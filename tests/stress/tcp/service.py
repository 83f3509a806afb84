"""The service that is under stress: what none may do, in whichever process it is, and one that is
a process of its own."""

import gc
import logging
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from logging.handlers import BufferingHandler
from typing import Any, Final
from unittest import mock

import trio

from fanout.channel.channel import Channel
from fanout.protocol import Trade
from fanout.transports.tcp import TcpTransport, greeting
from fanout.transports.tcp.config import TcpConfig
from tests.protocol.golden import BTC
from tests.stand.channels import new_channel, publish_bulk, serving

UNHURRIED_S: Final = 60.0
"""What takes the place of `SILENCE_S` here: on a busy machine nobody is too late by accident."""

ANY_RATE: Final = 1e6
"""Of accepting, where storms are not what is tried."""

BLOCKS_A_SECOND: Final = 200
BURST_EVERY: Final = 100
"""Blocks from one burst to the next."""

BURST_BYTES: Final = 30_000


@contextmanager
def no_traceback() -> Iterator[None]:
    """Fails for an exception that somebody only logged, or that nobody could catch."""
    logged = BufferingHandler(sys.maxsize)
    logged.setLevel(logging.ERROR)
    logging.basicConfig(handlers=[logged], force=True)
    unraisable: list[object] = []
    with mock.patch.object(sys, "unraisablehook", unraisable.append):
        yield
        gc.collect()
    said = [*(each.getMessage() for each in logged.buffer), *unraisable]
    assert not said, said


def waiting(request_s: float) -> AbstractContextManager[object]:
    """How long the services of this process wait for a request."""
    return mock.patch.multiple(greeting, SILENCE_S=UNHURRIED_S, REQUEST_S=request_s)


def serve(pipe: Any, config: TcpConfig, log_bytes: int, seed: int, max_files: int = 0) -> None:
    """A process's work. Says where the service is; fills its log and publishes when it is told to;
    ends in good order when it is told to, and says which number would have been next.

    `max_files` is how many descriptors it has; 0 leaves that as it is.
    """
    if max_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))
    with no_traceback(), waiting(UNHURRIED_S):
        trio.run(_serve, pipe, config, log_bytes, random.Random(seed))


async def _serve(pipe: Any, config: TcpConfig, log_bytes: int, chance: random.Random) -> None:
    channel, transport = new_channel(log_bytes), TcpTransport(config)
    async with serving(channel, transport) as url:
        pipe.send(url)
        await _hear(pipe)
        while not channel.log.oldest:
            publish_bulk(channel, log_bytes // 10)
        pipe.send("full")
        async with trio.open_nursery() as publishing:
            publishing.start_soon(_publish, channel, chance)
            await _hear(pipe)
            publishing.cancel_scope.cancel()
    assert transport.client_count == 0
    pipe.send(channel.log.next_seq)


async def _hear(pipe: Any) -> None:
    await trio.lowlevel.wait_readable(pipe.fileno())
    pipe.recv()


async def _publish(channel: Channel, chance: random.Random) -> None:
    """Blocks of a few trades at a steady rate, whatever the clients do; now and then a burst."""
    due_s = trio.current_time()
    for step in range(sys.maxsize):
        due_s += 1 / BLOCKS_A_SECOND
        await trio.sleep_until(due_s)
        _publish_block(channel, chance)
        if step % BURST_EVERY == 0:
            publish_bulk(channel, BURST_BYTES)
            for _ in range(10):
                _publish_block(channel, chance)


def _publish_block(channel: Channel, chance: random.Random) -> None:
    first = channel.log.next_seq
    trades = [
        Trade(BTC, first + i, 7, chance.randrange(8_000_000), chance.randrange(10_000), False)
        for i in range(chance.randint(1, 5))
    ]
    channel.publish(trades, received_ns=time.time_ns(), held_ns=0)
