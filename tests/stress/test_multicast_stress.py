import pytest
import trio

from fanout.transports.multicast import carrier
from tests.stress.multicast import on_loopback


def test_nothing_is_lost_untold_on_networks_that_lose_double_and_reorder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`python -m tests.stress.multicast` has 200,000 records, and milder networks too."""
    monkeypatch.setattr(carrier, "END_PAUSE_S", 0.02)
    said = trio.run(on_loopback, 0.1, 2_000, 1)
    assert "1 line and TCP" in said
