"""`fanout ... multicast` with a real process, on loopback."""

import json
import signal

import pytest

from tests.fanout.cli.processes import at_once, started
from tests.stand.groups import LOOPBACK, free_groups


def test_a_group_is_read_with_and_without_tcp() -> None:
    a, b = map(str, free_groups())
    lines = ("--group", a, "--group-b", b, "--interface", LOOPBACK, "--snapshot-s", "0.1")
    sim = ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT")
    with started(*sim, "multicast", *lines, "tcp", "--port", "0") as service:
        assert f"on multicast://{a} multicast://{b}" in service.until_said("serving")
        tcp = service.until_said("tcp://").split()[-1]
        at = ("--interface", LOOPBACK, "--group-b", b)
        for more in ((), ("--recovery", tcp), ("--recovery", tcp, "--start", "oldest")):
            done = at_once(
                "tail", f"multicast://{a}", *at, *more, "--limit", "5", "--format", "json"
            )
            rows = [json.loads(line) for line in done.stdout.splitlines()]
            numbers = [row["seq"] for row in rows if row.get("seq")]
            assert numbers == list(range(numbers[0], numbers[-1] + 1)), done.stderr
            assert len(numbers) >= 5
        assert service.end(signal.SIGTERM) == 143


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tail", "multicast://1.2.3.4:5"), "is no group"),
        (("tail", "multicast://239.1.1.1:9100", "--start", "oldest"), "give --recovery too"),
        (
            ("tail", "multicast://239.1.1.1:9100", "--recovery", "tcp://h:1", "--tls-ca", "x"),
            "use tls://",
        ),
        (("tail", "tcp://127.0.0.1:1", "--group-b", "239.1.1.1:1"), "are for multicast://"),
        (("book", "tcp://127.0.0.1:1", "X", "--recovery", "tcp://h:1"), "are for multicast://"),
        (("save", "shm://q", "x.csv", "--interface", "10.0.0.1"), "are for multicast://"),
        (("multicast", "--group", "10.0.0.1:9100"), "--group: '10.0.0.1:9100' is no group"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(arguments: tuple[str, ...], words: str) -> None:
    done = at_once(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
