"""The venues that a scene runs at."""

import pytest

from fanout.venues import VENUES
from tests.misbehaviour.scene import DIALECT_OF


@pytest.fixture(params=[name for name in DIALECT_OF if name in VENUES])
def venue(request: pytest.FixtureRequest) -> str:
    """Each venue of the service that the simulator has a dialect for."""
    return str(request.param)
