"""Print what a fanout service sends to a multicast group, until COUNT trades or Ctrl-C. RECOVERY is
the service over TCP, which is asked for what the network lost. Run it as
`python examples/multicast_client.py multicast://GROUP:PORT INTERFACE RECOVERY [COUNT]`, such as
`... multicast://239.10.1.1:9100 10.0.0.7 tcp://10.0.0.5:9000`."""

import sys

from fanout.clients.multicast import AddressError, Disconnected, MulticastClient
from fanout.protocol import Loss, Trade


def main(url: str, interface: str, recovery: str, count: int = 0) -> None:
    trades = 0
    with MulticastClient(url, interface=interface, recovery=recovery) as client:
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
        print(client.lines)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4], *map(int, sys.argv[4:]))
    except KeyboardInterrupt:
        pass
    except AddressError as error:
        sys.exit(str(error))
