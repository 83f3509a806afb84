"""What a service sent to one client, sent again to another at the same pace.

So the client alone is measured, and gets the service's own blocks: as many records in each as the
service had put into it.
"""

import socket
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from tests.bench.books_parts.ages import Played
from tests.bench.books_parts.client import Report
from tests.bench.broadcast.children import PATIENCE_S, running
from tests.bench.broadcast.replay import records_of
from tests.bench.measure import WORK_CORE, start


class Sent(msgspec.Struct, frozen=True):
    """The time just before the last bytes were sent, and what the client reported. The client may
    have them before the sender goes on."""

    ended_s: float
    report: Report


def sent_again(run: Played, *, pure: bool) -> Sent:
    """Raises `RuntimeError` if the client ends before the last record."""
    last_seq, end = last_record(run)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        module = "tests.bench.books_parts.client"
        with running(start(module, url, last_seq, core=WORK_CORE, pure=pure)) as child:
            connection = server.accept()[0]
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(run.kept[: run.joined])
                word = child.hear()
                assert word == "ready", word
                began_s = time.monotonic()
                ended_s = send(connection.sendall, _pieces(run, end), began_s)
                report = msgspec.json.decode(child.hear(), type=Report)
    return Sent(ended_s, report)


def send(
    sendall: Callable[[bytes], None], pieces: Iterable[tuple[float, bytes]], began_s: float
) -> float:
    """Send each piece so many seconds after `began_s`. Returns the time just before the last."""
    last_s = began_s
    for at_s, data in pieces:
        time.sleep(max(0.0, began_s + at_s - time.monotonic()))
        last_s = time.monotonic()
        sendall(data)
    return last_s


def _pieces(run: Played, end: int) -> Iterator[tuple[float, bytes]]:
    """What the client read at once, and when, in seconds from the start; up to this byte."""
    own = run.arrivals[run.arrivals["client"] == 0]
    start = run.joined
    for received, at_ns in zip(own["received"], own["at_ns"], strict=True):
        if start >= end:
            return
        yield int(at_ns) / 1e9, run.kept[start : run.joined + int(received)]
        start = run.joined + int(received)


def last_record(run: Played) -> tuple[int, int]:
    """The number of the last record, and the end of its frame. Heartbeats follow it."""
    return max((getattr(each, "seq", 0), end) for each, end in records_of(run.kept))
