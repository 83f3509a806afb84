"""Whatever a stranger may say instead of a request."""

import random
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from fanout.protocol import Start
from fanout.transports.tcp import greeting
from fanout.transports.tcp.connection import MAX_INPUT_BYTES
from tests.bench.report import Row
from tests.stand.channels import publish_bulk
from tests.stress.tcp.account import Account, request
from tests.stress.tcp.sayings import LATE, REFUSED, SERVED, Answer, Saying, known, noises
from tests.stress.tcp.visits import at_once, read, read_answer, visit, witnessed

HASTY_S: Final = 0.2
"""What takes the place of `REQUEST_S` in a small dose."""


def run(count: int, seed: int, *, small: bool) -> list[Row]:
    """All that is known to be said, and so many noises."""
    said = [*known(), *noises(count, random.Random(seed))]
    trio.run(_run, said, HASTY_S if small else greeting.REQUEST_S)
    return [
        Row(name="things said", value=len(said), unit=""),
        Row(name="of them requests, after all", value=_count(said, SERVED), unit=""),
        Row(name="refused at once", value=_count(said, REFUSED), unit=""),
        Row(name="refused as incomplete", value=_count(said, LATE), unit=""),
    ]


async def _run(said: list[Saying], request_s: float) -> None:
    """Who is to be understood is given all the time; who is not, `request_s`."""
    async with witnessed() as service:
        visits = [partial(babble, service.url, *each) for each in said if each[1] != LATE]
        others = [partial(each, service.url) for each in (whisper, chatter, mute)]
        await at_once(100, [*visits, *others])
    async with witnessed(request_s=request_s) as service:
        visits = [partial(babble, service.url, *each) for each in said if each[1] == LATE]
        publish_bulk(service.channel, 2_000_000)  # more than a flood without a reader is sent
        oldest = request(start=Start.OLDEST)
        starts = (request(), oldest, b"", b"\xff", b"\x10")
        floods = [partial(flood, service.url, each) for each in starts]
        await at_once(100, [*floods, *visits, partial(trickle, service.url)])


def _count(said: list[Saying], answer: Answer) -> int:
    return sum(each == answer for _, each in said)


async def babble(url: str, said: bytes, expected: Answer) -> None:
    async with visit(url) as stream:
        await stream.send_all(said)
        await check_answer(stream, expected, said)


async def check_answer(stream: trio.SocketStream, expected: Answer, said: bytes) -> None:
    # Some of the requests ask for old numbers: what is missing of those is no matter here.
    account = Account(Start.OLDEST)
    await read_answer(stream, account)
    if expected is SERVED:
        assert account.trades, (said, account.end)
    else:
        assert account.end, said
        assert (account.end.reason, account.end.retry_ms) == expected, (said, account.end)


async def whisper(url: str) -> None:
    """A request byte by byte, which is understood."""
    async with visit(url) as stream:
        for each in request():
            await stream.send_all(bytes([each]))
            await trio.sleep(0.05)
        await check_answer(stream, SERVED, request())


async def trickle(url: str) -> None:
    """A request without end, byte by byte: refused, and cut off however long it goes on."""
    async with visit(url) as stream, trio.open_nursery() as nursery:
        await stream.send_all((4096).to_bytes(4, "little"))

        async def go_on() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b" ")
                    await trio.sleep(0.02)

        nursery.start_soon(go_on)
        await check_answer(stream, LATE, b"a trickle")
        # It goes on until the service has closed, and that was noticed.


async def chatter(url: str) -> None:
    """A request, and then as much as is tolerated: served on."""
    async with visit(url) as stream:
        await stream.send_all(request() + bytes(MAX_INPUT_BYTES - 4096))
        await listen(stream)


async def mute(url: str) -> None:
    """A request, and the end of all that is said: served on."""
    async with visit(url) as stream:
        await stream.send_all(request())
        await stream.send_eof()
        await listen(stream)


async def listen(stream: trio.SocketStream) -> None:
    """Read for a while."""
    account = Account()
    while account.trades < 30:
        data = await read(stream)
        assert data, "the service closed"
        account.take(data)


async def flood(url: str, start: bytes) -> None:
    """More than is tolerated: cut off, also amid a piece that nobody reads."""
    async with visit(url, receive_buffer=4096) as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(start + bytes(100_000_000))
            raise AssertionError("a hundred megabytes were read")
