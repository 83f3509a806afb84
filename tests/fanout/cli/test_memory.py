"""A process that runs out of memory."""

import signal
import subprocess
import sys

import pytest

from fanout.cli.memory import OUT_OF_MEMORY, is_out_of_memory
from tests.fanout.cli.processes import environment


def raised_from() -> BaseException:
    try:
        raise ValueError from MemoryError()
    except ValueError as error:
        return error


def raised_amid() -> BaseException:
    try:
        try:
            raise MemoryError
        finally:
            raise ValueError
    except ValueError as error:
        return error


def raised_instead() -> BaseException:
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError from None
    except ValueError as error:
        return error


def round_in_a_ring() -> BaseException:
    error = ValueError()
    error.__cause__ = error
    return error


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (ExceptionGroup("", [ValueError(), ExceptionGroup("", [MemoryError()])]), True),
        (BaseExceptionGroup("", [KeyboardInterrupt(), MemoryError()]), True),
        (raised_from(), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("libx.so: cannot open shared object file"), False),
        (raised_amid(), True),
        (raised_instead(), False),
        (round_in_a_ring(), False),
        (ExceptionGroup("", [ValueError()]), False),
    ],
    ids=repr,
)
def test_out_of_memory_is_found_anywhere_in_the_chain_of_errors(
    error: BaseException, is_it: bool
) -> None:
    assert is_out_of_memory(error) is is_it


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=30,
    )


RAISE = """
def fail(*_, **__):
    raise MemoryError
"""


def test_a_thread_that_dies_of_lack_of_memory_ends_the_process() -> None:
    result = python(
        RAISE
        + "from _thread import allocate_lock, start_new_thread\n"
        + "from fanout.cli.memory import end_when_out_of_memory\n"
        + "end_when_out_of_memory(); start_new_thread(fail, ())\n"
        + "lock = allocate_lock(); lock.acquire(); lock.acquire()"
    )
    assert (result.returncode, result.stderr) == (1, f"fanout: {OUT_OF_MEMORY}\n")


def test_a_service_out_of_memory_ends_without_waiting_for_dead_tasks() -> None:
    """As trio's own of `run_sync_soon` does, which its end waits for."""
    result = python(
        RAISE
        + "import fanout.cli.running as running\n"
        + "from trio._core._asyncgens import AsyncGenerators\n"
        + "running.run_service = fail\n"
        + "AsyncGenerators.finalize_remaining = lambda *_: __import__('trio').sleep_forever()\n"
        + "from fanout.config import Config, SourceConfig\n"
        + "from fanout.transports.tcp.config import TcpConfig\n"
        + "sources = (SourceConfig(assets=('BTCUSDT',), venue='sim'),)\n"
        + "config = Config(sources=sources, transports=(TcpConfig(port=0),))\n"
        + "running.run_until_signal(config)"
    )
    assert (result.returncode, result.stderr) == (1, f"fanout: {OUT_OF_MEMORY}\n")


def test_the_alarm_ends_an_interpreter_that_cannot_end() -> None:
    result = python(
        "import signal, fanout.cli.memory as memory\n"
        "memory.END_S = 1; memory.end_soon()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "while True: signal.sigwait([signal.SIGTERM])"
    )
    assert result.returncode == -signal.SIGALRM


def test_an_orderly_end_cancels_the_alarm() -> None:
    result = python(
        "import time, fanout.cli.memory as memory\n"
        "memory.END_S = 1; memory.end_soon(); memory.has_ended()\n"
        "import signal; print(signal.alarm(0))"
    )
    assert (result.returncode, result.stdout) == (0, "0\n")
