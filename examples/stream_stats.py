"""Compare `@trade` with `@aggTrade` of one symbol: how many, how far apart, how large.
Run it as `[FANOUT_WS_URL=ws://SIMULATOR] python examples/stream_stats.py [SYMBOL [SECONDS]]`."""

import os
import sys

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url

BASE = os.environ.get("FANOUT_WS_URL", "wss://fstream.binance.com")


async def measure(url: str, seconds: float) -> None:
    rows = []
    try:
        with trio.move_on_after(seconds):
            async with open_websocket_url(url) as socket:
                while True:
                    rows.append(msgspec.json.decode(await socket.get_message())["data"])
    except (ConnectionClosed, HandshakeError) as error:
        print(f"{url}: {error.__cause__ or repr(error)}", file=sys.stderr)
    trades = [row for row in rows if row.get("X") != "NA"]  # NA only uses up an id
    times = [row["T"] for row in trades] or [0]
    gap_ms = (times[-1] - times[0]) / max(len(times) - 1, 1)
    quantity = sum(float(row["q"]) for row in trades) / len(times)
    print(f"@{url.partition('@')[2]}: {len(trades)}, {gap_ms:.1f} ms apart, mean {quantity:.3f}")


async def main(symbol: str = "BTCUSDT", seconds: float = 10) -> None:
    async with trio.open_nursery() as nursery:  # each stream has its own route
        for place in ("public/stream?streams={}@trade", "market/stream?streams={}@aggTrade"):
            nursery.start_soon(measure, f"{BASE}/{place.format(symbol.lower())}", seconds)


if __name__ == "__main__":
    try:
        trio.run(main, *sys.argv[1:2], *map(float, sys.argv[2:]))
    except* KeyboardInterrupt:
        pass
