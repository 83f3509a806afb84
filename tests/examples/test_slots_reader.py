"""The reader in C of the ring of slots, compiled and run against the transport."""

import shutil
import subprocess
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest
import trio

from fanout.protocol import Trade
from fanout.transports.slots.transport import SlotsTransport
from tests.stand import channels
from tests.stand.slot_ring import BTC, ONE, Feeder, channel_of, config

SOURCE = Path(__file__).parents[2] / "examples" / "slots_reader.c"

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


def compiled(directory: Path) -> Path:
    program = directory / "slots_reader"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCE)]
    subprocess.run(command, check=True, timeout=60)
    return program


@needs_cc
async def test_it_prints_the_book_the_trades_and_what_changes(tmp_path: Path) -> None:
    program = await trio.to_thread.run_sync(compiled, tmp_path)
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with channels.serving(channel, SlotsTransport(config(tmp_path)), within_s=30):
        feeder.whole({1: (99, 5)}, {3: (101, 7)})
        run = partial(trio.lowlevel.open_process, stdout=PIPE)
        process = await run([str(program), str(tmp_path / "hft_ring")])
        assert process.stdout is not None
        lines = [b""]

        async def prints(text: str) -> None:
            while text.encode() not in lines[0]:
                lines[0] += await process.stdout.receive_some()  # type: ignore[union-attr]

        try:
            await prints("order ask 3 7.000000 @ 101.00\n")
            feeder.publish(Trade(BTC, 1_700_000_001, 1, 6_432_129 * 10**6, ONE // 2, True))
            feeder.trade(2)
            feeder.change({1: (0, 0)})
            await prints("delete bid 1")
            assert lines[0].decode().splitlines() == [
                "order bid 1 5.000000 @ 99.00",
                "order ask 3 7.000000 @ 101.00",
                "trade sell 1700000001 0.500000 @ 64321.29",
                "trade buy 2 1.000000 @ 1.00",
                "delete bid 1 1.000000 @ 0.00",
            ]
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()


@needs_cc
def test_without_a_ring_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(compiled(tmp_path)), str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere: " in done.stderr
