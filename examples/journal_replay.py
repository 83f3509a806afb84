"""Replay a journal at a multiple of its own speed: trades as they came, pauses included. Run it as
`python examples/journal_replay.py journal://DIR/CHANNEL [SPEED [2026-11-29T13:00Z]]`."""

import sys
import time
from datetime import datetime

from fanout.clients.journal import AddressError, DisconnectedError, JournalClient, Moment, Restarted
from fanout.protocol import Gap, Loss, Trade


def moment(text: str) -> Moment:
    """A time in ISO 8601, with its zone."""
    return Moment(time_ns=int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1_000)


def main(url: str, speed: float = 1.0, begin: str = "") -> None:
    began: tuple[int, int] | None = None  # the clock, and the time of the first record
    with JournalClient(url, start=moment(begin) if begin else "oldest") as client:
        for record in client:
            if isinstance(record, Loss | Gap | Restarted):
                print(record, file=sys.stderr)
            elif isinstance(record, Trade):
                began = began or (time.monotonic_ns(), record.received_ns)
                due_ns = began[0] + (record.received_ns - began[1]) / speed
                time.sleep(max(0.0, due_ns - time.monotonic_ns()) / 1e9)
                print(record.time_ms, record.symbol, record.price_text, record.quantity_text)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2], *map(float, sys.argv[2:3]), *sys.argv[3:])
    except KeyboardInterrupt:
        pass
    except (AddressError, DisconnectedError) as error:
        sys.exit(str(error))
