"""The venues that a scene runs at."""

import pytest

from fanout.venues import VENUES
from tests.misbehaviour.scene import DIALECT_OF
from tests.thoroughness import EVERY_VENUE


@pytest.fixture(params=["binance", "binance-spot"])
def venue(request: pytest.FixtureRequest) -> str:
    """Each market of Binance: a scene in which ids, routes or REST paths are Binance's."""
    return str(request.param)


@pytest.fixture(
    params=[
        name
        for name in DIALECT_OF
        if name in VENUES and (EVERY_VENUE or not name.endswith("-spot"))
    ]
)
def any_venue(request: pytest.FixtureRequest) -> str:
    """Each venue of the service that the simulator has a dialect for. In the suite, one market
    stands for those of an exchange that differ in listings and limits only."""
    return str(request.param)
