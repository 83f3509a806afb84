"""Runs what stands in README.md and docs/ as a reader would, block by block and in order.

A line that is indented by four is a command; Python and TOML stand in fences. What serves goes on
until another command wants its place, what prints without end is interrupted once it has printed a
little, and the exchange is a simulator where a command does not bring its own.

    python -m tests.documents

does so with README.md in a clean copy of the tree, and a virtual environment made by the README's
own command, which needs a package index. `tests/test_documents.py` does it for the other documents,
with what is installed; for the longest ones with `-m long`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.heeding import heed_signals

ROOT: Final = Path(__file__).parents[1]

PATIENCE_S: Final = 60.0
ENOUGH_LINES: Final = 3
LINGER_S: Final = 1.0
"""How long a command that has printed enough may take to end by itself."""

QUEUE: Final = "trade_queue"
RING: Final = "trade_ring"

_SERVES: Final = re.compile(
    r"^(?!.* (check|config)\b).*fanout .*\b(tcp --port|shm --name|ring --name)\b"
)
_CHECKS: Final = re.compile(r"fanout .*\bcheck\b")
_SAYS: Final = re.compile(r"\b(serving|replaying)\b")
_PLACES: Final = re.compile(r"(?:--(?:http-)?port|--name) (\S+)")
_LISTENS: Final = re.compile(r"(--(?:http-)?port) (\d+)")


class Block(msgspec.Struct, frozen=True):
    """What is there to be run. `kind` is shell, python or toml."""

    kind: str
    text: str
    line: int


def blocks_of(path: Path) -> list[Block]:
    """The blocks of a document, in order; each command of a shell is one of its own."""
    blocks: list[Block] = []
    fenced: list[str] | None = None
    kind, start = "", 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("```") and fenced is None:
            fenced, kind, start = [], line[3:], number
        elif line.startswith("```") and fenced is not None:
            blocks.append(Block(kind, "\n".join(fenced) + "\n", start))
            fenced = None
        elif fenced is not None:
            fenced.append(line)
        elif line.startswith("    ") and line.strip():
            blocks.append(Block("shell", line.strip(), number))
    return blocks


class Newcomer:
    """A person who follows a document, with two shells and a virtual environment in .venv."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """What is started is ended with `stack`."""
        self._home = home
        self._stack = stack
        self._path = f"{home}/.venv/bin:{os.environ['PATH']}"
        self._names = {each: f"{each}_{uuid.uuid4().hex[:8]}" for each in (QUEUE, RING)}
        """What documents call a port, a queue or a ring, and what it is here."""
        self._serving: list[tuple[set[str], subprocess.Popen[str]]] = []
        self._exchange: dict[str, str] = {}

    def run(self, block: Block) -> None:
        """Do what a block says. Raises `AssertionError` where that does not go well."""
        text = self._renamed(block.text)
        if block.kind == "python":
            self._watch(text, [f"{self._home}/.venv/bin/python", "-u", "-c", text])
        elif block.kind == "json" or "[features]" in text:
            (self._home / "consumer").write_text(text)
            address = "" if "[[input]]" in text else self._renamed("tcp://127.0.0.1:9000")
            consumer = f"fanout analytics run --config consumer --limit 1 {address}"
            self._watch(text, ["bash", "-c", consumer])
        elif "[strategy]" in text or "[system]" in text:
            paper = self._home / "paper.toml"
            # The one has all that a run needs, the other belongs to the one before it.
            paper.write_text(text if "[strategy]" in text else paper.read_text() + text)
            self._watch(text, ["bash", "-c", "fanout paper run || test $? = 2"])  # no input
        elif block.kind == "toml":
            (self._home / "block.toml").write_text(text)
            self._watch(text, ["fanout", "--config", "block.toml", "config"])
        elif _SERVES.search(text):
            self._serve(block.text)
        else:
            if _CHECKS.search(text):
                self._make_room(block.text)
            self._watch(text, ["bash", "-c", text])

    def serve(self, symbols: str = "BTCUSDT,ETHUSDT") -> None:
        """Have a service there, for a document that counts on the README's."""
        front = f"fanout --venue sim --assets {symbols} --http-port 9464"
        self.run(Block("shell", f"{front} tcp --port 9000 shm --name {QUEUE}", 0))

    def have_an_exchange(self) -> None:
        process = self._start("", ["fanout", "simulate", "--symbols", "BTCUSDT,ETHUSDT"])
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        self._exchange = {"FANOUT_WS_URL": urls["ws"], "FANOUT_REST_URL": urls["rest"]}

    def _serve(self, written: str) -> None:
        self._make_room(written)
        text = self._renamed(written)
        process = self._start(text, ["bash", "-c", f"exec {text.rpartition('&& ')[2]}"])
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            kinds = re.findall(r"tcp|shm|\bring\b|multicast", text)
            if len(list(filter(_SAYS.search, said))) == len(kinds):
                break
        assert _SAYS.search("".join(said[-1:])), f"{text}: {''.join(said)}"
        self._serving.append((set(_PLACES.findall(written)), process))
        self._learn_ports(written, "".join(said))

    def _learn_ports(self, written: str, said: str) -> None:
        """Note the ports that a service took, by those that the document gives it."""
        for flag, port in _LISTENS.findall(written):
            scheme = "http" if flag == "--http-port" else "tcp"
            found = re.search(rf"{scheme}://\S+?:(\d+)", said)
            assert found is not None, f"{written}: {said}"
            self._names[port] = found[1]

    def _make_room(self, written: str) -> None:
        """End whatever has a port or a name that is in these words of a document."""
        wanted = set(_PLACES.findall(written))
        for places, process in self._serving:
            if places & wanted:
                _end(process)

    def _watch(self, text: str, words: list[str]) -> None:
        """Run something to its end, or until it has printed enough."""
        process = self._start(text, words)
        assert process.stdout is not None
        printed = [line for line, _ in zip(process.stdout, range(ENOUGH_LINES), strict=False)]
        if len(printed) == ENOUGH_LINES and not _has_ended(process):
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
        is_interrupted = process.returncode in (130, -signal.SIGINT)
        is_well = process.returncode == 0 or (is_interrupted and len(printed) == ENOUGH_LINES)
        assert is_well, f"{text}\nends with {process.returncode}: {said}"

    def _start(self, text: str, words: list[str]) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not _changes_things(name)}
        exchange = {} if "--venue sim" in text else self._exchange
        process = subprocess.Popen(
            words,
            cwd=self._home,
            env={**kept, **exchange, "PATH": self._path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end, process)
        return process

    def _renamed(self, text: str) -> str:
        """With free ports for what listens, the ports that it took for what connects, and a queue
        of our own: others run here, too."""
        text = _LISTENS.sub(r"\1 0", text)
        for name, ours in self._names.items():
            text = re.sub(rf"\b{name}\b", ours, text)
        return text


@contextmanager
def reading(home: Path) -> Iterator[Newcomer]:
    with ExitStack() as stack:
        reader = Newcomer(home, stack)
        reader.have_an_exchange()
        yield reader


def _changes_things(name: str) -> bool:
    return name.startswith("FANOUT_") and name != "FANOUT_PURE"


def _has_ended(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(LINGER_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def main() -> None:
    heed_signals()
    blocks = blocks_of(ROOT / "README.md")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "fanout"
        files = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split("\0")
        for each in filter(None, files):
            (home / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / each, home / each, follow_symlinks=False)
        install = blocks[0].text.rpartition(" && ")[0]
        print(f"+ {install}", flush=True)
        subprocess.run(["bash", "-c", install], cwd=home, check=True, stdout=subprocess.DEVNULL)
        with reading(home) as reader:
            for block in blocks:
                if "pytest" in block.text:
                    continue  # the suite is run by itself
                print(f"+ README.md:{block.line} {block.text.splitlines()[0]}", flush=True)
                reader.run(block)


if __name__ == "__main__":
    sys.exit(main())
