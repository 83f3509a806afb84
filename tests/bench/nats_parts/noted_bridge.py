"""`fanout` with the arguments of its command line. At its end it prints the lag of each message of
records, in ns: from `received_ns` to the acknowledgement."""

import json
import time
from typing import Any

from fanout.bridge.nats import run
from fanout.bridge.nats.stats import ChannelStats
from fanout.cli import main

lags_ns: list[int] = []


class Noted(ChannelStats):
    def acknowledged(self, **of: Any) -> None:
        if of["received_ns"]:
            lags_ns.append(time.time_ns() - of["received_ns"])
        super().acknowledged(**of)


if __name__ == "__main__":
    run.ChannelStats = Noted
    try:
        main()
    finally:
        print(json.dumps(lags_ns), flush=True)
