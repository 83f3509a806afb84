"""Print the trades of a channel that is kept in NATS JetStream, until COUNT trades or Ctrl-C. Run
it as `python examples/nats_client.py nats://HOST:PORT/CHANNEL [START [COUNT]]`, where START is
`live` or `oldest`. It needs nats-py: `pip install 'fanout[nats]'`."""

import sys

from fanout.clients.nats import AddressError, Disconnected, MissingPackageError, NatsClient
from fanout.protocol import Loss, Trade


def main(url: str, start: str = "live", count: int = 0) -> None:
    trades = 0
    with NatsClient(url, start=start) as client:
        for record in client:
            match record:
                case Trade():
                    print(f"{record.symbol} {record.quantity_text} @ {record.price_text}")
                    trades += 1
                    if trades == count:
                        break
                case Loss():
                    print(f"LOSS of {record.count} records: {record.reason.name}")
                case Disconnected():
                    print(f"DISCONNECTED: {record.why}; again in {record.pause_s:.1f} s")
        print(f"{client.statistics.lost} lost, go on at {client.position}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3], *map(int, sys.argv[3:]))
    except KeyboardInterrupt:
        pass
    except (AddressError, ConnectionError, MissingPackageError) as error:
        sys.exit(str(error))
