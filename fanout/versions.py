"""What is installed and in use."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from fanout.protocol.constants import WIRE_VERSION
from fanout.protocol.speedups import twin as wire_twins
from fanout.speedups import twin as service_twins


@cache
def versions() -> dict[str, str]:
    """Of fanout, its wire and Python, and whether the hot functions are compiled."""
    return {
        "fanout": _package(),
        "wire": str(WIRE_VERSION),
        "functions": _functions(),
        "python": platform.python_version(),
    }


def _package() -> str:
    try:
        return version("fanout")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"


def _functions() -> str:
    compiled = [each.is_compiled for each in (wire_twins, service_twins)]
    if all(compiled):
        return "compiled"
    return "partly compiled" if any(compiled) else "plain Python"
