import random
from pathlib import Path

import pytest
import trio

from tests.stand.nats import nats_command
from tests.stress.nats import run


@pytest.mark.long
def test_a_kill_of_bridge_service_and_server_makes_no_double_and_no_hole(tmp_path: Path) -> None:
    """`python -m tests.stress.nats` has 200 of them, also with a cluster and two bridges; `.ci/run`
    has 20."""
    nats_command()
    seed = random.randrange(10**6)
    outcome = trio.run(run, tmp_path, 3, seed)
    assert not outcome.complaints, f"seed {seed}:\n" + "\n".join(outcome.complaints)
    assert set(outcome.kills) == {"bridge", "service", "nats-server"}
    assert outcome.counts["records in the stream"] > 100
    assert outcome.counts["records that a reader of it got"] > 100
