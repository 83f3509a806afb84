"""Print the newest price of each symbol once a second, from a ring that many programs read.

    fanout --venue sim --assets BTCUSDT,ETHUSDT ring --name trades
    python examples/ring_client.py ring://trades [SECONDS]

The service waits for no reader. This one sleeps in between, and is told what it missed.
"""

import sys
import time

from fanout.clients.ring import AddressError, RingClient
from fanout.protocol import End, Loss, Trade


def main(url: str = "ring://trades", pause_s: float = 1.0) -> None:
    prices: dict[str, str] = {}
    shown_s = time.monotonic()
    with RingClient(url, reconnect=False) as client:
        for record in client:
            match record:
                case Trade():
                    prices[record.symbol] = record.price_text
                case Loss():
                    print(f"too slow for {record.count:,} records")
                case End():
                    print(record)
            if time.monotonic() - shown_s > pause_s:
                print(prices)
                time.sleep(pause_s)
                shown_s = time.monotonic()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2], *map(float, sys.argv[2:]))
    except KeyboardInterrupt:
        pass
    except AddressError as error:
        sys.exit(str(error))
