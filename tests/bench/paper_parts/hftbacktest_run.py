"""The contender hftbacktest, as a program of its own that needs nothing of ours.

    PYTHON hftbacktest_run.py EVENTS.npz ROUNDS PLAN

where PYTHON is an interpreter with hftbacktest: it wants an older numpy than we do. EVENTS.npz is
the recording in its own form, a row for each level and each trade. They are put into the order that
it asks for before anything is measured. PLAN is JSON: what `replay.py` does, in its units. A line
of JSON has the CPU seconds of each round, and what the orders came to.

Each round opens the file, and plays it with ten orders, as `replay.py` does. The first round is not
counted: numba compiles in it.
"""

import json
import sys
import time

import numpy as np
from hftbacktest import GTX, LIMIT, BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data.validation import correct_event_order, validate_event_order
from hftbacktest.types import event_dtype
from numba import njit

TICK, LOT = 0.1, 0.001
END_OF_DATA = 1


@njit
def play(hbt, renew_ns, step_ns, quantity, tick, a_side):  # type: ignore[no-untyped-def]
    """Renew the orders each `renew_ns` of the record's time. Returns how often, and what it was
    that ended it."""
    number, renewals, due_ns = 0, 0, 0
    while True:
        ended = hbt.elapse(step_ns)
        if ended:
            return renewals, ended
        depth = hbt.depth(0)
        if hbt.current_timestamp < due_ns or not depth.best_bid_tick < depth.best_ask_tick:
            continue
        due_ns = hbt.current_timestamp + renew_ns
        renewals += 1
        orders = hbt.orders(0).values()
        while orders.has_next():
            order = orders.get()
            if order.cancellable:
                hbt.cancel(0, order.order_id, False)
        hbt.clear_inactive_orders(0)
        for place in range(a_side):
            bid = (depth.best_bid_tick - place) * tick
            ask = (depth.best_ask_tick + place) * tick
            hbt.submit_buy_order(0, number + 1, bid, quantity, GTX, LIMIT, False)
            hbt.submit_sell_order(0, number + 2, ask, quantity, GTX, LIMIT, False)
            number += 2


def opened(path: str, latency_ns: int) -> HashMapMarketDepthBacktest:
    asset = (
        BacktestAsset()
        .data([path])
        .linear_asset(1.0)
        .constant_order_latency(latency_ns, 0)
        .power_prob_queue_model(1.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(TICK)
        .lot_size(LOT)
    )
    return HashMapMarketDepthBacktest([asset])


def order(path: str) -> None:
    """Put the events of a file into the order in which the exchange and we see them."""
    events = np.load(path)["data"].astype(event_dtype)  # which aligns it, as numba wants it
    seen = correct_event_order(
        events,
        np.argsort(events["exch_ts"], kind="stable"),
        np.argsort(events["local_ts"], kind="stable"),
    )
    validate_event_order(seen)
    np.savez(path, data=seen)


def main(path: str, rounds: int, plan: dict[str, float]) -> None:
    order(path)
    spent, fills, renewals, position = [], 0, 0, 0.0
    for number in range(rounds + 1):
        began = time.process_time()
        hbt = opened(path, int(plan["latency_ns"]))
        renewals, ended = play(
            hbt,
            int(plan["renew_ns"]),
            int(plan["step_ns"]),
            plan["quantity"],
            TICK,
            int(plan["a_side"]),
        )
        if number:
            spent.append(time.process_time() - began)
        if ended != END_OF_DATA:
            raise RuntimeError(f"it ended with {ended} at {hbt.current_timestamp}")
        state = hbt.state_values(0)
        fills, position = int(state.num_trades), float(state.position)
        hbt.close()
    print(json.dumps({"s": spent, "fills": fills, "renewals": renewals, "position": position}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
