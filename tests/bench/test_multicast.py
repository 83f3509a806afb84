"""The stage multicast: every block comes, and costs and ages are compared."""

from tests.bench import multicast
from tests.bench.multicast_parts.reader import received_ns
from tests.bench.report import Row
from tests.protocol.test_session import block, heartbeat
from tests.thoroughness import small_dose


def test_a_block_says_when_its_records_came() -> None:
    assert received_ns(block(1, 3)[4:]) == 9
    assert received_ns(heartbeat(1)[4:]) is None


@small_dose
def test_costs_and_ages_are_measured_and_compared() -> None:
    rows = [each for each in multicast.run(small=True) if isinstance(each, Row)]
    names = {each.name for each in rows}
    assert {
        "multicast, 1 receiver, p99",
        "tcp, 10 clients, p99",
        "no transport, CPU a block",
    } < names
    assert {each.unit for each in rows} == {"µs", "times"}
    assert all(each.value > 0 for each in rows if each.unit == "µs")
