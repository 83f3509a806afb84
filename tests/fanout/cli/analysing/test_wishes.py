"""What a consumer is asked for."""

from pathlib import Path

import pytest

from fanout.cli.analysing.wishes import fit_bytes, named_fits
from fanout.errors import ConfigError


def test_no_more_is_read_of_a_file_than_a_fit_may_have(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    path.write_bytes(b" " * (1 << 21))
    assert len(fit_bytes(str(path))) == (1 << 20) + 1
    with pytest.raises(ConfigError, match=r"big\.json: 1,048,577 bytes exceed 1,048,576: no fit"):
        named_fits([str(path)])
