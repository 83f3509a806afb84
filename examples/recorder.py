"""Record trades in a CSV file, without gaps or duplicates: each run resumes after the last row.
Run it as `python examples/recorder.py FILE [tcp://127.0.0.1:9000 [COUNT]]`."""

import csv
import sys

from fanout.clients.tcp import AddressError, Disconnected, Position, Restarted, TcpClient
from fanout.protocol import Gap, Loss, Trade


def last_place(path: str) -> Position | str:
    """The position after the last row of the file. An incomplete last row is cut off."""
    with open(path, "a+b") as file:
        file.seek(max(0, file.tell() - 4096))
        *rows, half = file.read().split(b"\n")
        file.truncate(file.tell() - len(half))
    last = rows and rows[-1].split(b",")
    return Position(epoch_ns=int(last[0]), seq=int(last[1]) + 1) if last else "oldest"


def main(path: str, url: str = "tcp://127.0.0.1:9000", count: int = 0) -> None:
    with TcpClient(url, start=last_place(path)) as client, open(path, "a", buffering=1) as file:
        rows = csv.writer(file, lineterminator="\n")
        for record in client:
            if isinstance(record, Loss | Gap | Disconnected | Restarted):
                print(record, file=sys.stderr)
            elif isinstance(record, Trade):
                place = (client.header.epoch_ns, record.seq, record.symbol, record.trade_id)
                rows.writerow((*place, record.price_text, record.quantity_text))
                if (count := count - 1) == 0:
                    return


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3], *map(int, sys.argv[3:]))
    except KeyboardInterrupt:
        pass
    except AddressError as error:
        sys.exit(str(error))
