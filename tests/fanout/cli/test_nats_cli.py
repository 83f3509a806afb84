"""The commands that read a stream of NATS."""

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from fanout.protocol import BookFlags, BookUpdate, DataKinds, pack_levels
from tests.clients.nats_streams import BOTH, BTC, CHANNEL, LIFE, stand, trade
from tests.fanout.cli.processes import at_once
from tests.stand.nats import NatsServer

BOOK = BookUpdate(BTC, 7, 5, pack_levels([(10, 5)]), pack_levels([(11, 2)]), BookFlags.WHOLE)


@pytest.fixture
def prefix(shared_nats: NatsServer) -> str:
    """The prefix of a stream with a book and three trades."""
    prefix = shared_nats.new_prefix()

    async def write() -> None:
        async with stand(shared_nats.url, prefix) as its:
            writer = its.writer
            writer.header = replace(BOTH, data=DataKinds.TRADES | DataKinds.BOOK_BY_PRICE)
            await its.write(*writer.head(), writer.block([BOOK]), writer.trades(2))
            await its.write(writer.block([trade(9, LIFE)]))

    asyncio.run(write())
    return prefix


def test_every_command_reads_a_stream(shared_nats: NatsServer, prefix: str, tmp_path: Path) -> None:
    url = f"{shared_nats.url}/{CHANNEL}"
    of_stream = ("--prefix", prefix, "--start", "oldest")
    tail = ("tail", url, *of_stream, "--format", "json")
    lines = at_once(*tail, "--limit", "4").stdout.splitlines()
    assert [json.loads(each)["seq"] for each in lines] == [1, 2, 3, 4]
    (line,) = at_once(*tail, "--limit", "1", "--symbol", LIFE.symbol).stdout.splitlines()
    assert json.loads(line)["seq"] == 4
    saved = tmp_path / "t.jsonl"
    done = at_once("save", url, str(saved), *of_stream, "--limit", "4")
    assert "complete" in done.stderr
    assert [json.loads(each)["seq"] for each in saved.read_text().splitlines()] == [1, 2, 3, 4]
    shown = at_once("book", url, BTC.symbol, "--json", "--limit", "1", "--prefix", prefix)
    assert json.loads(shown.stdout.splitlines()[0])["bids"] == [["0.10", "0.005"]]


def test_a_stream_is_compared_with_itself(shared_nats: NatsServer, prefix: str) -> None:
    url = f"{shared_nats.url}/{CHANNEL}"
    of_stream = ("--prefix", prefix, "--start", "oldest")
    done = at_once("compare", url, url, *of_stream, "--for", "1s", "--within", "1s", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["a"], found["differences"]) == (url, 0)
    assert {each["symbol"]: each["matched"] for each in found["symbols"]} == {
        BTC.symbol: 2,
        LIFE.symbol: 1,
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nats://u:secret@127.0.0.1:9/a", "--no-reconnect"), 1, "nats://127.0.0.1:9/a: "),
        (("nats://u:secret@127.0.0.1:9",), 2, "names no channel"),
        (("nats://u:secret@127.0.0.1:9/a", "--tls-ca", "x.pem"), 2, "--tls-ca is for nats+tls"),
        (("nats+tls://u:secret@127.0.0.1:9/a", "--tls-ca", "x.pem"), 78, "cannot use --tls-ca"),
        (("nats://u:secret@127.0.0.1:9/a", "--token-file", "x"), 2, "--token-file is for tcp"),
        (("nats://u:secret@127.0.0.1:9/a", "--group-b", "x"), 2, "are for multicast://"),
        (("nats://u:secret@127.0.0.1:9/a", "--creds", "none"), 1, "credentials none: No such file"),
        (("nats://u:secret@127.0.0.1:9/a", "--prefix", "a.b"), 2, "'a.b' is no prefix"),
        (("u:secret@127.0.0.1:9",), 2, "'127.0.0.1:9' is not an address"),
        (("u:secret@127.0.0.1:9/a", "--creds", "x"), 2, "--prefix are for nats://"),
        (("u:secret@127.0.0.1:9/a", "--tls-ca", "x"), 2, "does not speak TLS"),
        (("u:secret@127.0.0.1:9/a", "--group-b", "x"), 2, "are for multicast://"),
        (("tcp://127.0.0.1:9", "--creds", "x"), 2, "--creds and --prefix are for nats://"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(
    arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = at_once("tail", *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
    assert words in done.stderr
    assert "secret" not in done.stderr


def test_a_stream_that_is_not_there_is_told(shared_nats: NatsServer) -> None:
    done = at_once("tail", f"{shared_nats.url}/none")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "there is no stream fanout-none for channel none" in done.stderr
