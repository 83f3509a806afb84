"""Measure how old trades are when they come out of a queue, and print percentiles.

    python examples/shm_trades_consumer.py my_trades

It reads what `shm_trades_producer.py` writes, or a service: `fanout shm --name my_trades`. With a
service, the age counts from its receipt of the trade. The program ends when the writer does.
"""

import sys
import time

from fanout.clients.shm import Disconnected, ShmClient, Wait
from fanout.protocol import End, Trade

ages_ns: list[int] = []
with ShmClient(f"shm://{sys.argv[1]}", wait=Wait.SPIN) as client:
    for record in client:
        if isinstance(record, Trade):
            ages_ns.append(time.time_ns() - record.received_ns)
        elif isinstance(record, End | Disconnected) and ages_ns:
            break  # the writer has ended, or died

ages_ns.sort()
print(f"{len(ages_ns)} trades")
for percent in (50, 99, 99.9):
    print(f"p{percent:<5} {ages_ns[int(len(ages_ns) * percent / 100)] / 1000:9.2f} us")
