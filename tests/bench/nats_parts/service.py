"""The service of the stage nats: a channel without a venue, over TCP.

    python -m tests.bench.nats_parts.service SYMBOLS BLOCK_TRADES BLOCKS PERIOD_S

It publishes one trade and prints its address. When it reads a line it publishes the blocks, one
each PERIOD_S. With 0 it publishes all of them before it sends any: a backlog.
"""

import itertools
import random
import sys
import time
from collections.abc import Iterator

import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.protocol import Header, Instrument, Reference, Trade
from fanout.transports.base import longest_frame_of
from fanout.transports.tcp import TcpConfig, TcpTransport
from tests.protocol.golden import BTC

LOG_BYTES = 256 * 2**20
PRICE = 6_180_030


def header_of(symbols: int) -> Header:
    instruments = [replace(BTC, index=each, symbol=f"SYM{each}USDT") for each in range(symbols)]
    reference = Reference(price=PRICE, quantity=6, trade_id=1, time=1_723_161_256_322)
    return Header(
        epoch_ns=time.time_ns(),
        next_seq=1,
        venue="test",
        instruments=tuple(instruments),
        references=(reference,) * symbols,
    )


def trades_of(instruments: tuple[Instrument, ...]) -> Iterator[Trade]:
    """A walk of the price in each symbol, and symbols in no order. The same in every run."""
    chance = random.Random(1)
    ids, prices = [1] * len(instruments), [PRICE] * len(instruments)
    for number in itertools.count():
        at = chance.randrange(len(instruments))
        ids[at] += 1
        prices[at] += 10 * chance.randint(-2, 2)
        time_ms = 1_723_161_256_322 + number // 25
        quantity = chance.randint(1, 2_000)
        yield Trade(instruments[at], ids[at], time_ms, prices[at], quantity, bool(quantity % 2))


async def serve(symbols: int, block_trades: int, blocks: int, period_s: float) -> None:
    transport = TcpTransport(TcpConfig(port=0))
    header = header_of(symbols)
    channel = Channel(
        header,
        log_bytes=LOG_BYTES,
        wall_ns=time.time_ns,
        longest_frame_bytes=longest_frame_of([transport]),
    )
    trades = trades_of(header.instruments)
    ready = [list(itertools.islice(trades, block_trades)) for _ in range(blocks)]
    channel.publish([next(trades)], received_ns=time.time_ns(), held_ns=0)
    async with trio.open_nursery() as nursery:
        print(await nursery.start(transport.run, [channel]), flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        due_s = trio.current_time()
        for block in ready:
            if period_s:
                due_s += period_s
                await trio.sleep_until(due_s)
            channel.publish(block, received_ns=time.time_ns(), held_ns=0)


if __name__ == "__main__":
    trio.run(serve, *map(int, sys.argv[1:4]), float(sys.argv[4]))
