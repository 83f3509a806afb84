"""A journal, and where its fit goes."""

from pathlib import Path

import pytest

from tests.fanout.cli.analysing.quotes import Market


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path / "journal")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "fit.json"
