"""Clients that leave at every offset of what is said, or read it a byte at a time."""

import random
from functools import partial

import trio

from fanout.channel.channel import Channel
from fanout.protocol import Start
from tests.bench.report import Row
from tests.stand.channels import publish_bulk
from tests.stress.tcp.account import READ_BYTES, Account, request
from tests.stress.tcp.visits import at_once, publish_some, reset_at_close, visit, witnessed


def run(count: int, seed: int, *, small: bool) -> list[Row]:
    """Each offset so many times; in a small dose every fifth one."""
    return trio.run(partial(_run, count, random.Random(seed), step=5 if small else 1))


async def _run(rounds: int, chance: random.Random, *, step: int) -> list[Row]:
    left = 0
    async with witnessed() as service:
        length = spoken_bytes(service.channel)
        for _ in range(rounds):
            visits = [
                partial(leave_at, service.url, request(start=start), offset, is_reset=is_reset)
                for start in Start
                for is_reset in (False, True)
                for offset in range(chance.randrange(step), length + 1, step)
            ]
            asked = request(start=Start.OLDEST, token="of nobody")
            visits += [
                partial(leave_at, service.url, asked[:offset], 0, is_reset=is_reset)
                for is_reset in (False, True)
                for offset in range(0, len(asked), step)
            ]
            bytewise = [partial(read_bytewise, service.url, length, start) for start in Start]
            await at_once(20, [*visits, *bytewise])
            left += len(visits)
        publish_bulk(service.channel, 4_000_000)
        amid = [
            partial(
                leave_at,
                service.url,
                request(start=Start.OLDEST),
                chance.randrange(2_000_000),
                is_reset=chance.random() < 0.5,
                receive_buffer=4096,
            )
            for _ in range(rounds * 40)
        ]
        await at_once(20, amid)
    return [
        Row(name="clients that left at an offset", value=left, unit=""),
        Row(name="clients that left amid a piece", value=len(amid), unit=""),
        Row(name="numbers that the other one got", value=service.witness.numbers, unit=""),
    ]


def spoken_bytes(channel: Channel) -> int:
    """Length of an opening, with its snapshot, and of two blocks and two events."""
    before = channel.log.appended_bytes
    publish_some(channel)
    publish_some(channel)
    news = channel.log.appended_bytes - before
    return len(channel.greeting()) + len(channel.snapshot()) + news


async def leave_at(
    url: str, said: bytes, offset: int, *, is_reset: bool, receive_buffer: int = 0
) -> None:
    """Say something, read so many bytes, and go."""
    async with visit(url, receive_buffer=receive_buffer) as stream:
        await stream.send_all(said)
        while offset:
            data = await stream.receive_some(min(offset, READ_BYTES))
            assert data, f"the service left first, {offset:,} bytes early"
            offset -= len(data)
        if is_reset:
            reset_at_close(stream)


async def read_bytewise(url: str, length: int, start: Start) -> None:
    account = Account(start)
    async with visit(url, receive_buffer=4096) as stream:
        await stream.send_all(request(start=start))
        for _ in range(length):
            account.take(bytes(await stream.receive_some(1)))
    assert account.trades, "a block was among them"
    assert not account.lost
