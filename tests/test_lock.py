"""What a release is installed with is pinned, and is what the project asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

LOCK = (ROOT / ".ci" / "requirements.lock").read_text()
PIN = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ;.*?)? \\\n(?P<hashes>(?:    --hash=.*\n)+)",
    re.MULTILINE,
)
PINS = list(PIN.finditer(LOCK))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["nats"]]
"""The image passes channels on to NATS, too."""


@pytest.mark.parametrize("text", ASKED)
def test_what_is_asked_for_is_pinned_to_a_version_that_will_do(text: str) -> None:
    asked = Requirement(text)
    # One for each Python, where the newest is not for all of them.
    versions = [each["version"] for each in PINS if each["name"] == canonicalize_name(asked.name)]
    assert versions
    assert all(map(asked.specifier.contains, versions))


def test_every_pin_has_hashes_and_nothing_is_taken_from_elsewhere() -> None:
    lines = LOCK.splitlines()
    assert len(PINS) == sum("==" in each and not each.startswith(" ") for each in lines)
    for each in PINS:
        assert all(line.startswith("    --hash=sha256:") for line in each["hashes"].splitlines())
    assert not [each for each in lines if "://" in each or each.startswith("-")]


def test_the_image_is_installed_from_it() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in text
    assert "--no-deps ." in text
