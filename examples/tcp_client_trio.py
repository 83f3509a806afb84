"""Print what a fanout service sends, with trio, until COUNT trades or Ctrl-C.
Run it as `python examples/tcp_client_trio.py tcp://127.0.0.1:9000 [COUNT]`."""

import sys

import trio

from fanout.clients.tcp_trio import AddressError, Disconnected, TrioTcpClient
from fanout.protocol import End, Gap, Loss, Status, Trade


async def main(url: str = "tcp://127.0.0.1:9000", count: int = 0) -> None:
    trades = 0
    async with TrioTcpClient(url) as client:
        async for record in client:
            match record:
                case Trade():
                    print(f"{record.symbol} {record.quantity_text} @ {record.price_text}")
                    trades += 1
                    if trades == count:
                        return
                case Status() | Gap():
                    print(record)
                case Loss():
                    print(f"LOSS of {record.count} records: {record.reason.name}")
                case Disconnected():
                    print(f"DISCONNECTED: {record.why}; again in {record.pause_s:.1f} s")
                case End():
                    print(f"END: {record.why}")


if __name__ == "__main__":
    try:
        trio.run(main, *sys.argv[1:2], *map(int, sys.argv[2:]))
    except KeyboardInterrupt:
        pass
    except AddressError as error:
        sys.exit(str(error))
