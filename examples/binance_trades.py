"""Print trades straight from Binance, and count them by the minute. No fanout service is involved.
Run it as `python examples/binance_trades.py [SYMBOL [COUNT]]`, until COUNT trades or Ctrl-C.
FANOUT_WS_URL=ws://HOST:PORT connects to a simulator instead of Binance."""

import os
import sys
from collections import Counter
from contextlib import suppress
from time import gmtime, strftime

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url

BASE = os.environ.get("FANOUT_WS_URL", "wss://fstream.binance.com")


async def main(symbol: str = "BTCUSDT", count: int = sys.maxsize) -> None:
    per_minute: Counter[str] = Counter()
    url = f"{BASE}/public/stream?streams={symbol.lower()}@trade"
    try:
        async with open_websocket_url(url) as socket:
            while per_minute.total() < count:
                with trio.fail_after(60):  # Binance is silent on an unknown symbol
                    trade = msgspec.json.decode(await socket.get_message())["data"]
                if trade["X"] == "NA":  # not a trade: it only uses up an id
                    continue
                minute = strftime("%H:%M", gmtime(trade["T"] // 1000))
                per_minute[minute] += 1
                print(f"{minute} {trade['s']} {trade['q']} @ {trade['p']}")
    except (ConnectionClosed, HandshakeError, trio.TooSlowError) as error:
        sys.exit(f"{url}: {error.__cause__ or repr(error)}")
    finally:
        for minute, trades in per_minute.items():
            print(f"{minute}: {trades} trades")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main, *sys.argv[1:2], *map(int, sys.argv[2:]))
