"""hftbacktest with the same orders, in an interpreter of its own.

It needs an older numpy than we do, so it has an environment of its own:

    python3 -m venv /tmp/hbt && /tmp/hbt/bin/pip install hftbacktest
    FANOUT_HFTBACKTEST=/tmp/hbt/bin/python .venv/bin/python -m tests.bench paper

Without the variable it is taken from our environment, if it is there.

It does less than we do: one fill model a run, no partial fills, no reports, and doubles in place of
integers. It does more: a book at the exchange besides ours, so each level is applied twice. Its
exchange with partial fills (2.4.4) ends the recording after 112 s of 345, with the error that the
state of an order is not valid.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from tests.bench.measure import WORK_CORE
from tests.bench.paper_parts.recorded import INSTRUMENT, Record, events
from tests.bench.paper_parts.replay import A_SIDE, LATENCY_NS, QUANTITY, RENEW_NS
from tests.bench.report import why_absent

VARIABLE: Final = "FANOUT_HFTBACKTEST"
PROGRAM: Final = Path(__file__).with_name("hftbacktest_run.py")
STEP_NS: Final = 1_000_000_000
"""How often it looks whether the orders are to be renewed."""
PATIENCE_S: Final = 120


class Rival(msgspec.Struct, frozen=True):
    """CPU seconds of each round, and what the orders came to."""

    s: list[float]
    fills: int
    renewals: int
    position: float


def why_missing() -> str:
    """How to get it, where it is not there; empty if it is."""
    python = os.environ.get(VARIABLE)
    if python:
        return "" if Path(python).exists() else f"{VARIABLE} names {python}, which is not there"
    how = f"pip install hftbacktest, in a venv whose python {VARIABLE} names"
    return why_absent({"hftbacktest": how})


def played(records: Sequence[Record], folder: Path, rounds: int) -> Rival:
    """Play the records. Raises `CalledProcessError`."""
    path = folder / "events.npz"
    np.savez(path, data=events(records))
    python = os.environ.get(VARIABLE) or sys.executable
    plan = {
        "latency_ns": LATENCY_NS,
        "renew_ns": RENEW_NS,
        "step_ns": STEP_NS,
        "quantity": QUANTITY * 10**INSTRUMENT.quantity_exponent,
        "a_side": A_SIDE,
    }
    done = subprocess.run(
        [python, PROGRAM, path, str(rounds), json.dumps(plan)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=PATIENCE_S,
        preexec_fn=lambda: os.sched_setaffinity(0, {WORK_CORE}),
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Rival)
