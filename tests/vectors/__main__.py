"""Write `tests/data/wire/vectors.json`: python -m tests.vectors

What the file is and how it is used stands in `protocol/WIRE.md`, section 11. It is never edited by
hand: a test holds it against what this makes, byte for byte.
"""

import json
from pathlib import Path
from typing import Any

from tests.vectors.asking import asked
from tests.vectors.packets import listings, packets, rejected_packets
from tests.vectors.refused import refused
from tests.vectors.rejected import rejected
from tests.vectors.rejected_blocks import rejected_blocks
from tests.vectors.rejected_events import rejected_events
from tests.vectors.rejected_features import rejected_features
from tests.vectors.rejected_headers import rejected_headers
from tests.vectors.rejected_updates import rejected_updates
from tests.vectors.requests import rejected_requests, requests
from tests.vectors.segments import rejected_segments, segments
from tests.vectors.spelling import Value
from tests.vectors.tolerated import tolerated
from tests.vectors.valid import valid_headers
from tests.vectors.valid_blocks import valid_blocks
from tests.vectors.valid_events import valid_events
from tests.vectors.valid_features import valid_features
from tests.vectors.valid_updates import valid_updates
from tests.vectors.values import OPENING, Vector, frames_of

PATH = Path(__file__).parents[1] / "data" / "wire" / "vectors.json"

ABOUT = (
    "Conformance vectors of fanout's wire 2. protocol/WIRE.md, section 11, says how to use them. "
    "Made by `python -m tests.vectors`. Bytes are hex. An integer beyond 2^53 - 1, of either sign, "
    "is a string of its digits."
)

_DOUBLE_MAX = 2**53 - 1


def text() -> str:
    """The whole file: a frame, an event or a member a line."""
    groups = {
        "valid": [
            *valid_headers(),
            *valid_blocks(),
            *valid_updates(),
            *valid_features(),
            *valid_events(),
            *asked(),
        ],
        "tolerated": tolerated(),
        "must_reject": [
            *rejected(),
            *rejected_headers(),
            *rejected_events(),
            *rejected_blocks(),
            *rejected_updates(),
            *rejected_features(),
        ],
        "writer_must_refuse": refused(),
        "requests": requests(),
        "requests_must_reject": rejected_requests(),
        "segments": segments(),
        "segments_must_reject": rejected_segments(),
        "packets": packets(),
        "packets_must_reject": rejected_packets(),
        "listings": listings(),
    }
    fields = [
        f'"about": {_json(ABOUT)}',
        '"wire": 2',
        '"opening": ' + _object(_opening()),
        *map(_group, groups, groups.values()),
    ]
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _opening() -> Value:
    return {
        "frames": [each.hex() for data, _ in OPENING for each in frames_of(data)],
        "events": [event for _, event in OPENING if event is not None],
    }


def _group(name: str, vectors: list[Vector]) -> str:
    names = [each.name for each in vectors]
    assert len(set(names)) == len(names), f"{name}: {sorted(names)}"
    return f'"{name}": [\n' + ",\n".join(_object(each.value) for each in vectors) + "\n]"


def _object(value: Value) -> str:
    members = [f"  {_json(name)}: {_member(each)}" for name, each in value.items()]
    return " {\n" + ",\n".join(members) + "\n }"


def _member(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _json(value)
    return "[\n" + ",\n".join(f"   {_json(each)}" for each in value) + "\n  ]"


def _json(value: Any) -> str:
    spelled = json.dumps(exact(value), ensure_ascii=False, separators=(",", ":"))
    return spelled.replace("\ufeff", "\\ufeff")  # nobody would see it


def exact(value: Any) -> Any:
    """With strings for the integers that a double cannot be trusted with."""
    if isinstance(value, dict):
        return {name: exact(each) for name, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    is_large = isinstance(value, int) and abs(value) > _DOUBLE_MAX
    return str(value) if is_large else value


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
