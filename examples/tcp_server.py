"""A minimal fanout service, made of `protocol` and trio: it sends invented trades to every client.
Run it as `python examples/tcp_server.py [PORT]`; port 0 takes a free port. Ctrl-C ends it."""

import sys
import time
from contextlib import suppress

import trio

import fanout.protocol as wire

BTC = wire.Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
MEAN = wire.Reference(price=6_180_030, quantity=50, trade_id=0, time=time.time_ns() // 1_000_000)


async def serve(stream: trio.SocketStream) -> None:
    """Serve one client, in an epoch of its own, whose sequence numbers begin at 1."""
    header = wire.Header(
        epoch_ns=time.time_ns(), next_seq=1, venue="demo", instruments=(BTC,), references=(MEAN,)
    )
    with suppress(trio.BrokenResourceError):  # the client has left
        await stream.send_all(wire.frame(wire.START) + wire.opening(header))
        for seq in range(1, sys.maxsize):
            trade = wire.Trade(BTC, seq, MEAN.time + seq, MEAN.price + seq % 9, 50, seq % 2 == 0)
            block = wire.Block(first_seq=seq, trades=[trade], received_ns=time.time_ns())
            await stream.send_all(wire.frame(wire.encode_block(block, header)))
            await trio.sleep(0.1)


async def main(port: int = 9000) -> None:
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    print("tcp://{}:{}".format(*listeners[0].socket.getsockname()), flush=True)
    await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    try:
        trio.run(main, *map(int, sys.argv[1:]))
    except* KeyboardInterrupt:
        pass
