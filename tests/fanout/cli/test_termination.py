"""Every command ends on SIGTERM, also where it is the first process of a container."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fanout.cli.app import app
from tests.fanout.cli.processes import FANOUT, environment, serving, started

UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


ARGUMENTS = {
    "shm": ["--name", "q"],
    "journal": ["--dir", "j"],
    "ring": ["--name", "q"],
    "slots": ["--name", "q"],
    "consolidate": ["--rings", "r"],
    "multicast": ["--group", "239.1.1.1:9100", "--interface", "127.0.0.1"],
    "replay": ["j"],
    "compare": ["tcp://h:1", "tcp://h:2"],
    "symbols": ["binance"],
    "tail": ["tcp://127.0.0.1:1"],
    "save": ["tcp://127.0.0.1:1", "x.csv"],
    "book": ["tcp://127.0.0.1:1", "BTCUSDT"],
}
"""What a command does not begin without."""


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def child_of(pid: int) -> int:
    """The process that `unshare` started, once it runs Python."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    while not (children := path.read_text().split()):
        time.sleep(0.01)
    return int(children[0])


def handles_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) & 1 << (signal.SIGTERM - 1))


@pytest.mark.skipif(not can_unshare(), reason="no namespaces for users and pids here")
@pytest.mark.parametrize(
    "arguments",
    [("tail", "tcp://127.0.0.1:1"), ("simulate",), ("save", "tcp://127.0.0.1:1", "x.csv")],
)
def test_a_command_that_is_the_first_process_ends_on_sigterm(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with subprocess.Popen(
        [*UNSHARE, *FANOUT, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(PYTHONPATH=str(Path(__file__).parents[3])),
        cwd=tmp_path,
    ) as process:
        child = child_of(process.pid)
        while not handles_sigterm(child):
            time.sleep(0.01)
        subprocess.run(["kill", "-TERM", str(child)], check=True)
        try:
            assert process.wait(30) == 143
        finally:
            process.kill()


def test_sigterm_ends_a_command_also_where_no_exception_could() -> None:
    code = """if True:
        import os, signal
        from fanout.cli.termination import end_on_sigterm
        class Finalized:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
        end_on_sigterm()
        Finalized()
        print("it goes on")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_tail_and_a_watched_status_end_with_143() -> None:
    with serving("--http-port", "0") as (service, url):
        said = next(line for line in service.said if "answering" in line)
        http = said[said.index("http") : said.index("/status")]
        for arguments in (("tail", url), ("status", "--watch", http)):
            with started(*arguments) as process:
                process.line()
                assert process.end(signal.SIGTERM) == 143, process.said


@pytest.mark.parametrize("name", [str(each.name) for each in app.registered_commands])
def test_every_command_runs_with_a_handler_of_sigterm(name: str) -> None:
    code = f"""if True:
        import signal, sys
        import typer
        from fanout.cli import app, main
        def look(self, context):
            if context.command_path.endswith("{name}"):
                sys.exit(70 + callable(signal.getsignal(signal.SIGTERM)))
            return real(self, context)
        kind = type(typer.main.get_command(app.app).commands["{name}"])
        real, kind.invoke = kind.invoke, look
        sys.argv = ["fanout", "{name}", *{ARGUMENTS.get(name, [])}]
        main()"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert done.returncode == 71, done.stderr
