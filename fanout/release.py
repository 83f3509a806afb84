"""What is running: the version, and which implementation of the hot functions."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from fanout.speedups import twin as service_twins
from protocol.speedups import twin as wire_twins


def version() -> str:
    try:
        return version_of("fanout")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"


def kind() -> str:
    """Which implementation of the hot functions is in use."""
    compiled = [each.is_compiled for each in (wire_twins, service_twins)]
    if all(compiled):
        return "compiled"
    return "partly compiled" if any(compiled) else "plain Python"
