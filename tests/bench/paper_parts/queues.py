"""A bounded queue between two threads, and a pool of objects, beside what is there: a call in one
thread, and a frozen value made anew."""

import time
from collections.abc import Callable
from itertools import repeat
from queue import Queue
from statistics import median
from threading import Thread
from typing import Any, Final

from fanout.protocol import Side
from fanout.trading.orders import OrderRequest, OrderType, TimeInForce

CAPACITY: Final = 1_024
POOLED: Final = 64
LONE_S: Final = 0.002
"""Time between two records that come alone: the other thread waits by then."""


def called_ns(count: int) -> float:
    """A record handed on by a call, in one thread; CPU time."""
    return _of_each(count, int, 5)


def queued_ns(count: int) -> float:
    """A record handed on by a bounded queue to another thread, in a burst; CPU time of both."""
    queue: Queue[int | None] = Queue(CAPACITY)
    reader = Thread(target=_read, args=(queue, int))
    began_ns = time.process_time_ns()
    reader.start()
    for _ in repeat(None, count):
        queue.put(5)
    queue.put(None)
    reader.join()
    return (time.process_time_ns() - began_ns) / count


def waited_ns(count: int) -> float:
    """The median from `put` to the other thread's `get`, for records that come alone; a clock."""
    queue: Queue[int | None] = Queue(CAPACITY)
    found: list[int] = []
    reader = Thread(
        target=_read, args=(queue, lambda put_ns: found.append(time.monotonic_ns() - put_ns))
    )
    reader.start()
    for _ in repeat(None, count):
        time.sleep(LONE_S)
        queue.put(time.monotonic_ns())
    queue.put(None)
    reader.join()
    return median(found)


def _read(queue: "Queue[int | None]", take: Callable[[Any], object]) -> None:
    while (each := queue.get()) is not None:
        take(each)


class Pooled:
    """An order that is used again and again."""

    __slots__ = ("price", "quantity", "side", "symbol", "time_in_force", "type")

    symbol: str
    side: Side
    quantity: int
    price: int | None
    type: OrderType
    time_in_force: TimeInForce


_POOL: Final = [Pooled() for _ in range(POOLED)]


def made_ns(count: int) -> float:
    """A frozen `OrderRequest` made and dropped; CPU time."""
    return _of_each(count, _made, 5)


def pooled_ns(count: int) -> float:
    """An order taken from a pool, filled and put back; CPU time."""
    return _of_each(count, _filled, 5)


def _made(price: int) -> None:
    OrderRequest(
        symbol="BTCUSDT",
        side=Side.BID,
        quantity=100,
        price=price,
        type=OrderType.POST_ONLY,
        time_in_force=TimeInForce.GTC,
    )


def _filled(price: int) -> None:
    order = _POOL.pop()
    order.symbol = "BTCUSDT"
    order.side = Side.BID
    order.quantity = 100
    order.price = price
    order.type = OrderType.POST_ONLY
    order.time_in_force = TimeInForce.GTC
    _POOL.append(order)


def _of_each(count: int, function: Callable[[Any], object], argument: object) -> float:
    began_ns = time.thread_time_ns()
    for _ in repeat(None, count):
        function(argument)
    return (time.thread_time_ns() - began_ns) / count
