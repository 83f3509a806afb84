"""Write trades of your own to a queue in shared memory, each with the time it was written.

Run `python examples/shm_trades_producer.py my_trades 10000`, and shm_trades_consumer.py beside it.
"""

import fcntl
import mmap
import os
import sys
import time

import fanout.protocol as wire
from fanout.protocol.queue import QueueWriter
from fanout.protocol.queue_file import lock_request
from fanout.protocol.queue_page import PAGE_BYTES, WRITER_PID_WORD

BTC = wire.Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
ZERO = wire.Reference(price=6_000_000, quantity=0, trade_id=0, time=0)
NOW = time.time_ns()
HEADER = wire.Header(epoch_ns=NOW, next_seq=1, venue="me", instruments=(BTC,), references=(ZERO,))

path, count = f"/dev/shm/{sys.argv[1]}", int(sys.argv[2])
file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.posix_fallocate(file, 0, PAGE_BYTES + 2**20)
fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock_request(fcntl.F_WRLCK, WRITER_PID_WORD))
writer = QueueWriter(mmap.mmap(file, PAGE_BYTES + 2**20), header=HEADER, pid=os.getpid())
try:
    while not writer.readers:
        time.sleep(0.01)
    for seq in range(1, count + 1):
        trade = wire.Trade(BTC, seq, time.time_ns() // 10**6, 6_000_000 + seq % 10, 5, False)
        block = wire.Block(first_seq=seq, trades=[trade], received_ns=time.time_ns())
        writer.push(wire.frame(wire.encode_block(block, HEADER)))  # False if it does not fit
        writer.beat(seq)
        time.sleep(0.0002)
    end = wire.End(reason=wire.EndReason.SHUTDOWN, last_seq=count, retry_ms=None)
    writer.end(wire.frame(wire.encode_event(end)))
finally:
    os.unlink(path)
