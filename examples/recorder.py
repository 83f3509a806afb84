"""Record trades in a CSV file, without a hole and none twice: stop it, run it again, it goes on.
Run it as `python examples/recorder.py FILE [tcp://127.0.0.1:9000 [COUNT]]`."""

import csv
import sys

from clients.tcp import AddressError, Position, TcpClient
from protocol import Gap, Loss, Trade


def last_place(path: str) -> Position | str:
    """Behind the last row: the file itself knows how far it has come."""
    with open(path, "a+", newline="") as file:
        file.seek(0)
        rows = list(csv.reader(file))
    last = rows and Position(epoch_ns=int(rows[-1][0]), seq=int(rows[-1][1]) + 1)
    return last or "oldest"


def main(path: str, url: str = "tcp://127.0.0.1:9000", count: int = 0) -> None:
    start = last_place(path)
    with TcpClient(url, start=start) as client, open(path, "a", newline="", buffering=1) as file:
        for record in client:
            if isinstance(record, Loss | Gap):
                print(record, file=sys.stderr)
            elif isinstance(record, Trade):
                place = (client.header.epoch_ns, record.seq, record.symbol, record.trade_id)
                csv.writer(file).writerow((*place, record.price_text, record.quantity_text))
                count -= 1
                if count == 0:
                    return


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3], *map(int, sys.argv[3:]))
    except KeyboardInterrupt:
        pass
    except AddressError as error:
        sys.exit(str(error))
