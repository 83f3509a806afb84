import os
import subprocess
import sys
import time
from pathlib import Path

from tests.clients import rings

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_strings_come_over_in_order() -> None:
    with start("examples/shm_queue.py") as run:
        assert run.communicate(timeout=30) == ("5000 strings, in order: True\n", "")


def test_trades_come_over_and_their_ages_are_told() -> None:
    name = f"fanout_test_{os.getpid()}"
    with (
        start("examples/shm_trades_consumer.py", name) as consumer,
        start("examples/shm_trades_producer.py", name, "300") as producer,
    ):
        assert producer.communicate(timeout=30) == ("", "")
        said, errors = consumer.communicate(timeout=30)
    assert errors == ""
    assert said.startswith("300 trades\np50 ")
    assert not Path("/dev/shm", name).exists()


def test_prices_are_read_from_a_ring_up_to_its_end(tmp_path: Path) -> None:
    name = f"fanout_test_{os.getpid()}"
    ring = rings.Writer(Path("/dev/shm"), name=name)
    with start("examples/ring_client.py", f"ring://{name}", "0") as run:
        while not ring.ring.writer.asked:
            assert run.poll() is None
            time.sleep(0.005)
        ring.snapshot()
        ring.trades(3)
        ring.end()
        said, errors = run.communicate(timeout=30)
    assert errors == ""
    price = "{'BTCUSDT': '0.06'}"
    *before, end, last = said.splitlines()
    assert [*before, last] == ["{}", price, price, price, price]
    assert end.startswith("End(")
