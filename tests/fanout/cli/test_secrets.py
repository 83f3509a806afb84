from pathlib import Path

import pytest

from fanout.cli.secrets import read_token
from fanout.errors import OperatorError


@pytest.mark.parametrize("data", [b"mellon", b" mellon\r\n", b"\xef\xbb\xbfmellon\n"])
def test_a_token_file_may_have_blanks_and_a_byte_order_mark(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)
    token = read_token(str(path))
    assert token is not None
    assert token.reveal() == "mellon"


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", "mellon".encode("utf-16")])
def test_a_token_file_without_a_token_is_refused_by_its_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)
    with pytest.raises(OperatorError, match=f"--token-file {path}: "):
        read_token(str(path))
