"""Checks of the machine. Where possible a test takes the resource away for real."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from fanout.checks.machine import check_machine, check_platform
from fanout.checks.report import Check, Fault, Name, State
from fanout.config import Config, HttpConfig, TransportConfig
from fanout.protocol.queue_page import PAGE_BYTES
from fanout.transports.ring import ring_file
from fanout.transports.ring.check import check as check_rings
from fanout.transports.ring.config import RingConfig
from fanout.transports.shm.check import check_memory, check_queue
from fanout.transports.shm.config import ShmConfig
from fanout.transports.shm.queue_file import create
from fanout.transports.tcp.check import check_certificate, check_descriptors
from fanout.transports.tcp.config import TcpConfig
from tests.fanout.checks.resolvers import DeafResolver
from tests.protocol.golden import HEADER
from tests.stand.inside import one_source


def config(*transports: TransportConfig, http: HttpConfig | None = None) -> Config:
    return one_source(assets=("BTCUSDT",), transports=transports, http=http)


async def check_ports(wanted: Config) -> list[Check]:
    """The rows of the ports that a configuration wants."""
    return [each for each in await check_machine(wanted) if each.name == Name.PORT]


def test_shared_memory_on_an_unsupported_processor_fails() -> None:
    row = check_platform(is_x86_needed=True, machine="x86_64")
    assert (row.state, row.target) == (State.OK, "Linux x86_64")
    assert row.found.startswith("fanout ")
    assert ", wire 2, " in row.found
    other = check_platform(is_x86_needed=True, machine="aarch64")
    assert (other.state, other.fault) == (State.FAIL, Fault.MACHINE)
    assert "x86-64" in other.found
    assert "tcp" in other.advice
    assert check_platform(is_x86_needed=False, machine="aarch64").state is State.OK


@contextmanager
def descriptors(soft: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_too_few_descriptors_fail_with_the_required_ulimit() -> None:
    two = [TcpConfig(port=0, max_clients=100), TcpConfig(port=0, max_clients=200)]
    with descriptors(459):
        (row,) = check_descriptors(two)
    assert (row.state, row.target, row.fault) == (State.FAIL, "300 clients", Fault.MACHINE)
    assert row.found == "ulimit -n is 459: room for 299 clients"
    assert row.advice.startswith("ulimit -n 460 ")
    assert "--max-clients 299" in row.advice
    with descriptors(460):
        (row,) = check_descriptors(two)
    assert row.state is State.OK
    assert check_descriptors([]) == ()


async def test_a_port_in_use_fails_and_a_free_port_is_released() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("", 0)) as probe:
        port = taken.getsockname()[1]
        free = probe.getsockname()[1]
        probe.close()
        used, any_free, unused, http = await check_ports(
            config(
                TcpConfig(port=port),
                TcpConfig(port=0),
                TcpConfig(port=free),
                http=HttpConfig(port=port),
            )
        )
    assert (used.state, used.fault, used.target) == (
        State.FAIL,
        Fault.MACHINE,
        f"127.0.0.1:{port}",
    )
    assert used.found == "address already in use"
    assert "ss -ltnp" in used.advice
    assert "another --port" in used.advice
    assert "another --http-port" in http.advice
    assert (any_free.state, any_free.found) == (State.OK, "any free port")
    assert (unused.state, unused.found) == (State.OK, "free")
    socket.create_server(("127.0.0.1", free)).close()


async def test_one_port_for_two_listeners_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    first, second = await check_ports(config(TcpConfig(port=port), http=HttpConfig(port=port)))
    assert (first.state, second.state) == (State.OK, State.FAIL)


async def test_a_host_of_another_machine_fails() -> None:
    for host in ("192.0.2.1", "nosuch.invalid"):
        (row,) = await check_ports(config(TcpConfig(host=host, port=0)))
        assert row.state is State.FAIL
        assert "127.0.0.1" in row.advice


async def test_a_silent_resolver_fails_after_five_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trio.socket.set_custom_hostname_resolver(DeafResolver())
    (row,) = await check_ports(config(TcpConfig(host="slow.example", port=0)))
    assert (row.state, row.found) == (State.FAIL, "no address of slow.example within 5.0 s")


def test_a_certificate_with_another_key_fails(tmp_path: Path) -> None:
    authority = trustme.CA()
    paths = []
    for name in ("one", "two"):
        issued = authority.issue_cert(f"{name}.example")
        certificate, key = str(tmp_path / f"{name}.pem"), str(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        paths.append((certificate, key))
    (certificate, key), (_, other_key) = paths
    assert check_certificate(TcpConfig(tls_cert=certificate, tls_key=key)).state is State.OK
    row = check_certificate(TcpConfig(tls_cert=certificate, tls_key=other_key))
    assert (row.state, row.fault, row.target) == (State.FAIL, Fault.CONFIG, certificate)
    assert "do not belong together" in row.found
    assert "--tls-key" in row.advice


def queue(directory: Path, name: str = "q", capacity_bytes: int = 1024 * 1024) -> ShmConfig:
    return ShmConfig(name=name, capacity_bytes=capacity_bytes, directory=str(directory))


def statvfs_with(free_bytes: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 1 << 14, 0, free_bytes // 4096, 0, 0, 0, 0, 255))


def test_shared_memory_without_room_for_all_queues_fails(tmp_path: Path) -> None:
    two = [queue(tmp_path, "a"), queue(tmp_path, "b")]
    needed = 2 * (1024 * 1024 + PAGE_BYTES)
    (row,) = check_memory(two, statvfs=lambda _: statvfs_with(needed - 4096))
    assert (row.state, row.fault, row.target) == (State.FAIL, Fault.MACHINE, str(tmp_path))
    assert row.found == "2.9 MiB free of 64.0 MiB, 2.9 MiB needed"
    assert "--shm-size" in row.advice
    assert "--capacity" in row.advice
    (row,) = check_memory(two, statvfs=lambda _: statvfs_with(needed))
    assert row.state is State.OK
    assert check_memory([]) == ()


def test_a_missing_or_unwritable_queue_directory_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = check_memory([queue(tmp_path / "nowhere")])
    assert (row.state, row.found) == (State.FAIL, "no such file or directory")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    (row,) = check_memory([queue(tmp_path)])
    assert (row.state, row.found) == (State.FAIL, "the directory is not writable")
    assert "chmod" in row.advice


def test_a_queue_name_fails_if_another_process_or_file_has_it(tmp_path: Path) -> None:
    config, path = queue(tmp_path), tmp_path / "q"
    assert (check_queue(config).state, check_queue(config).found) == (State.OK, "the name is free")
    owned = create(str(path), capacity_bytes=64 * 1024, header=HEADER)
    row = check_queue(config)
    assert (row.state, row.fault) == (State.FAIL, Fault.MACHINE)
    assert row.found == f"belongs to process {os.getpid()}, which is running"
    assert "another --name" in row.advice
    owned.close(keep=True)
    row = check_queue(config)
    assert row.state is State.OK
    assert "the service takes it over" in row.found
    path.write_bytes(b"my thesis")
    row = check_queue(config)
    assert (row.state, row.found) == (State.FAIL, "the file exists and is no queue")
    assert str(path) in row.advice
    assert path.read_bytes() == b"my thesis"
    path.unlink()
    path.symlink_to("elsewhere")
    assert "not ours" in check_queue(config).found


def test_a_ring_needs_room_and_a_free_name(tmp_path: Path) -> None:
    config, path = RingConfig(name="r", directory=str(tmp_path)), tmp_path / "r"
    room, name = check_rings([config])
    assert (room.state, room.target) == (State.OK, str(tmp_path))
    assert "16.4 MiB needed" in room.found
    assert (name.name, name.state, name.found) == ("ring", State.OK, "the name is free")
    owned = ring_file.create(str(path), capacity_bytes=64 * 1024, header=HEADER)
    _, name = check_rings([config])
    assert name.found == f"belongs to process {os.getpid()}, which is running"
    owned.close(keep=False)
    create(str(path), capacity_bytes=64 * 1024, header=HEADER).close(keep=True)
    _, name = check_rings([config])
    assert (name.state, name.found) == (State.FAIL, "the file exists and is no ring")
