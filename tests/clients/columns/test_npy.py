from pathlib import Path

import numpy as np
import pytest

from fanout.clients.columns import labelled_dtype, npy, trades_in
from fanout.clients.columns.npy import batches_of, npy_header
from tests.protocol.golden import HEADER, TRADES

ROWS = trades_in(TRADES.trades, HEADER)


def test_the_length_of_a_header_does_not_depend_on_the_count() -> None:
    dtype = labelled_dtype(7)
    lengths = {len(npy_header(dtype, count)) for count in (0, 9, 10, 2**40, 2**63)}
    assert len(lengths) == 1


def test_a_file_is_whole_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "trades.npy"
    for counted in range(len(ROWS) + 1):
        path.write_bytes(npy_header(ROWS.dtype, counted) + ROWS.tobytes() + b"half a row")
        assert np.load(path).tolist() == ROWS[:counted].tolist()


def test_a_file_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "BATCH_ROWS", 2)
    path = tmp_path / "trades.npy"
    np.save(path, ROWS)
    assert [each.tolist() for each in batches_of(path)] == [ROWS[:2].tolist(), ROWS[2:].tolist()]
    np.save(path, ROWS[:0])
    assert list(batches_of(path)) == []
