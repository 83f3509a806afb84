"""The disk of this machine, as readers of a journal use it."""

import os
import time
from pathlib import Path

import pytest

from fanout.journal.disk import RealDisk
from fanout.protocol.journal_folder import SETTLED_NS

DISK = RealDisk()


def test_only_plain_files_are_opened_to_be_read(tmp_path: Path) -> None:
    plain, link, pipe = tmp_path / "plain", tmp_path / "link", tmp_path / "pipe"
    plain.write_bytes(b"text")
    link.symlink_to(plain)
    os.mkfifo(pipe)
    descriptor = DISK.open_to_read(str(plain))
    assert DISK.read(descriptor, 1, 10) == b"ext"
    with pytest.raises(OSError, match="Bad file descriptor"):
        DISK.write(descriptor, 0, [b"no"])
    DISK.close(descriptor)
    for path, why in ((link, "symbolic link"), (pipe, "not a plain"), (tmp_path, "not a plain")):
        with pytest.raises(OSError, match=why):
            DISK.open_to_read(str(path))


def test_a_folder_is_settled_a_while_after_its_last_change(tmp_path: Path) -> None:
    assert DISK.settled_ns(str(tmp_path)) == 0
    long_ago_ns = time.time_ns() - 2 * SETTLED_NS
    os.utime(tmp_path, ns=(long_ago_ns, long_ago_ns))
    assert DISK.settled_ns(str(tmp_path)) == long_ago_ns
    assert DISK.settled_ns(str(tmp_path / "missing")) == 0
    (tmp_path / "file").write_text("")
    assert DISK.settled_ns(str(tmp_path / "file" / "below")) == 0
