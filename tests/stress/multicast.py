"""Multicast over lines that lose, double, delay and damage packets.

    python -m tests.stress.multicast                    faults of 0.1, 1 and 10 %; a minute
    python -m tests.stress.multicast --rates 0.05 --records 1000000 --seed 7
    python -m tests.stress.multicast --namespaces       the service in another network namespace
    python -m tests.stress.multicast --buffers 212992 4194304   how much a burst overruns each

A service sends trades, quotes and books of a channel whose instruments change, to two lines. Each
receiver has a network of its own, so that each loses other packets. One takes both lines and asks
over TCP, one takes both and asks nobody, one takes line A and asks over TCP, and one takes line A
alone. A client over TCP is the witness. Of each receiver it is shown that

    what it got is what the witness got, number by number
    what it got and what it was told it lost are all numbers, each once
    with TCP nothing is lost
    a book that it says it knows is the witness's

It prints what became of the packets, and how long TCP took to fill a hole, in the middle: from the
attempt to connect to the last record that was missing.

With `--buffers` nothing is spoiled. A process sends 30,000 packets a second to a client on line A,
which has a receive buffer of each of these sizes in turn, if `net.core.rmem_max` allows it. It
prints what the client lost.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from multiprocessing.synchronize import Event as SyncEvent
from statistics import median
from typing import Any, Final

import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.clients.books import Books
from fanout.clients.multicast import MulticastClient
from fanout.clients.multicast_recovery import Recovery
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.clients.outcomes import Disconnected, Received
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import (
    Block,
    End,
    EndReason,
    FeedState,
    Loss,
    Packer,
    Quote,
    Status,
    Trade,
    encode_block,
    frame,
)
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.group import Group
from fanout.protocol.lines import Lines, LinesStatistics
from fanout.transports.base import longest_frame_of
from fanout.transports.multicast import MulticastConfig, MulticastTransport
from fanout.transports.multicast.sockets import open_socket
from fanout.transports.tcp import TcpConfig, TcpTransport
from tests.protocol.golden import BTC, HEADER
from tests.stand.book_channel import OTHER, Feeder, book_channel
from tests.stand.groups import LOOPBACK, free_groups
from tests.stand.unsteady import Faults, UnsteadyLine

BURST: Final = 20
"""Trades in one burst, with as many quotes and a change of each book."""

SERVICE: Final = "10.211.0.2"
RECEIVERS: Final = "10.211.0.1"
"""Addresses of the two ends between namespaces."""

FORK: Final = multiprocessing.get_context("fork")

Numbered = Trade | Quote | BookUpdate | Status


async def publish(channel: Channel, records: int, pause_s: float, begin: trio.Event) -> None:
    """Publish a little until `begin` is set, so that receivers which join need not wait for a
    heartbeat. Then publish that many records in bursts, and END."""
    while not begin.is_set():
        channel.publish_status(None, FeedState.LIVE, "waiting for the receivers")
        with trio.move_on_after(0.02):
            await begin.wait()
    feeder = Feeder(channel)
    feeder.whole(levels=100)
    feeder.whole(OTHER, levels=100)
    burst = 0
    while channel.log.next_seq <= records:
        burst += 1
        seq = channel.log.next_seq
        feeder.publish(*[Trade(BTC, seq + each, 5, 6, 7, False) for each in range(BURST)])
        seq = channel.log.next_seq
        feeder.publish(*[Quote(OTHER, seq + each, 5, 6, 7, 8, 9) for each in range(BURST)])
        feeder.change([(990 - burst % 50, 1 + burst)])
        feeder.change([(990 - burst % 40, 1 + burst)], OTHER)
        if burst % 500 == 0:
            added = len(channel.header.instruments)
            new = replace(OTHER, index=added, symbol=f"NEW{added}")
            channel.change([new], [channel.header.references[1]])
        await trio.sleep(pause_s)
    channel.end(EndReason.SHUTDOWN, retry_ms=None, why="that was all")


@asynccontextmanager
async def serving(
    groups: Sequence[Group], interface: str
) -> AsyncIterator[tuple[Channel, str, trio.Nursery]]:
    """A channel that is sent to the groups and over TCP. Its transports end with it."""
    a, b = map(str, groups)
    multicast = MulticastTransport(
        MulticastConfig(group=a, group_b=b, interface=interface, snapshot_s=0.25)
    )
    channel = Channel(
        book_channel().header,
        log_bytes=256 << 20,
        wall_ns=time.time_ns,
        longest_frame_bytes=longest_frame_of([multicast]),
    )
    async with trio.open_nursery() as nursery:
        tcp = await nursery.start(TcpTransport(TcpConfig(port=0, host=interface)).run, [channel])
        await nursery.start(multicast.run, [channel])
        yield channel, tcp, nursery


class TimedClient(TrioMulticastClient):
    """A client that notes how long TCP took to fill each hole."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.filled_ms: list[float] = []

    def _read_recovery(self, recovery: Recovery, lines: Lines, now_s: float) -> bool:
        is_any = super()._read_recovery(recovery, lines, now_s)
        if self._recovery is None:
            self.filled_ms.append(1000 * (time.monotonic() - self._recovery_began_s))
        return is_any


class Consumer:
    """One client, and what it got."""

    def __init__(self, name: str, client: Any) -> None:
        self.name = name
        self.client = client
        self.records: dict[int, object] = {}
        self.told: list[Loss] = []
        self.books = Books()
        self.digests: dict[str, int | None] = {}
        """Of the books at the END, by symbol; None for one that was not known."""
        self.disconnected = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with self.client:
            await self.client.connect()
            task_status.started()
            async for each in self.client:
                self._take(each)

    def _take(self, each: Received) -> None:
        if isinstance(each, End):
            # Behind it nothing is known any more.
            for symbol in (BTC.symbol, OTHER.symbol):
                book = self.books[symbol]
                self.digests[symbol] = book.prices.digest() if book.is_known else None
        self.books.apply(each)
        self.disconnected += isinstance(each, Disconnected)
        if isinstance(each, Loss):
            self.told.append(each)
        elif not isinstance(each, End) and getattr(each, "seq", 0):
            assert isinstance(each, Numbered), f"{self.name} got {each}"
            assert each.seq not in self.records, f"{self.name} got {each.seq} twice"
            self.records[each.seq] = each

    def check(self, witness: "Consumer", *, may_lose: bool) -> int:
        """How many numbers it was told it lost."""
        lost = [seq for each in self.told for seq in range(each.first_seq, each.last_seq + 1)]
        assert may_lose or not lost, f"{self.name} lost {lost[:20]}"
        everything = sorted([*self.records, *lost])
        first, last = everything[0], max(witness.records)
        assert everything == list(range(first, last + 1)), f"{self.name}: numbers are missing"
        for seq, each in self.records.items():
            assert each == witness.records.get(seq, each), f"{self.name}: {each} is another record"
        assert not self.disconnected, f"{self.name} was disconnected"
        for symbol, digest in self.digests.items():
            assert may_lose or digest is not None, f"{self.name} does not know {symbol}'s book"
            assert digest in (None, witness.digests[symbol]), f"{self.name}: {symbol}'s book"
        return len(lost)


def consumers(
    groups: Sequence[Sequence[Group]], tcp: str, patience_s: float
) -> Iterator[tuple[Consumer, bool]]:
    """A consumer for each pair of groups, and whether it may lose anything."""
    kinds = ((2, tcp), (2, None), (1, tcp), (1, None))
    for (lines, recovery), (a, b) in zip(kinds, groups, strict=True):
        client = TimedClient(
            f"multicast://{a}",
            group_b=str(b) if lines == 2 else None,
            interface=LOOPBACK,
            recovery=recovery,
            patience_s=patience_s,
        )
        name = f"{lines} line{'s' if lines > 1 else ''}{' and TCP' if recovery else ''}"
        yield Consumer(name, client), recovery is None


async def receive(
    groups: Sequence[Group],
    tcp: str,
    rate: float,
    seed: int,
    interface: str,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> str:
    """Receive all of a channel over bad networks, and check what came."""
    faults = Faults(lost=rate, doubled=rate, overtaken=rate, damaged=rate / 10)
    witness = Consumer("TCP", TrioTcpClient(tcp))
    targets = [free_groups() for _ in range(4)]
    with ExitStack() as stack:
        networks = [
            stack.enter_context(
                UnsteadyLine(source, target, faults, seed + place, interface=interface)
            )
            for place, (source, target) in enumerate(
                (source, target)
                for pair in targets
                for source, target in zip(groups, pair, strict=True)
            )
        ]
        judged = list(consumers(targets, tcp, patience_s=0.005))
        async with trio.open_nursery() as carrying:
            for network in networks:
                carrying.start_soon(network.run)
            async with trio.open_nursery() as reading:
                for each in (witness, *(consumer for consumer, _ in judged)):
                    await reading.start(each.run)
                task_status.started()
            carrying.cancel_scope.cancel()
    lines = [f"{rate:6.1%} of {max(witness.records):,} records:"]
    for each, may_lose in judged:
        lost = each.check(witness, may_lose=may_lose)
        client = each.client
        lines.append(_words(each.name, lost, client.lines, client.filled_ms[1:]))
    return "\n".join(lines)


def _words(name: str, lost: int, counts: LinesStatistics | None, filled_ms: Sequence[float]) -> str:
    """What became of a receiver. The first connection over TCP, with which it joined, does not
    count."""
    assert counts is not None, "it has joined"
    took = f", a hole in {median(filled_ms):.1f} ms" if filled_ms else ""
    gaps = sum(each.lost for each in counts.lines.values())
    return (
        f"    {name:15} {counts.packets:8,} packets, {gaps:6,} not there, {counts.damaged:4,} "
        f"damaged; {counts.recovered:7,} records over TCP{took}, {lost:7,} told as lost"
    )


async def on_loopback(rate: float, records: int, seed: int, pause_s: float = 0.001) -> str:
    """Everything in one process."""
    groups, result = free_groups(), ""
    async with serving(groups, LOOPBACK) as (channel, tcp, _), trio.open_nursery() as nursery:

        async def run(
            task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            nonlocal result
            result = await receive(groups, tcp, rate, seed, LOOPBACK, task_status)

        begin = trio.Event()
        nursery.start_soon(publish, channel, records, pause_s, begin)
        await nursery.start(run)
        begin.set()
    return result


async def serve(records: int, pause_s: float) -> None:
    """The service's end between namespaces. It waits until it has a network, says where it is, and
    begins when it is told to."""
    print("here", flush=True)
    await trio.to_thread.run_sync(sys.stdin.readline)
    groups = Group("239.213.1.1", 9100), Group("239.213.2.1", 9100)
    async with serving(groups, SERVICE) as (channel, tcp, nursery):
        begin = trio.Event()
        nursery.start_soon(publish, channel, records, pause_s, begin)
        print(tcp, *groups, flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        begin.set()


async def between_namespaces(rate: float, records: int, seed: int) -> str:
    """The receivers' end. The service is a process in another namespace."""
    words = ["unshare", "-n", sys.executable, "-m", "tests.stress.multicast", "--serve"]
    with subprocess.Popen(  # noqa: ASYNC220  it takes a moment, and nothing else runs yet
        [*words, "--records", str(records)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdout.readline()
        _connect_namespaces(service.pid)
        service.stdin.write("there is a network\n")
        service.stdin.flush()
        tcp, *found = service.stdout.readline().split()
        groups = [Group(*_split(each)) for each in found]
        result = ""
        async with trio.open_nursery() as nursery:

            async def run(
                task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
            ) -> None:
                nonlocal result
                result = await receive(groups, tcp, rate, seed, RECEIVERS, task_status)

            await nursery.start(run)
            service.stdin.write("go\n")
            service.stdin.flush()
        assert service.wait() == 0
    return result


def _split(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    return address, int(port)


def _connect_namespaces(pid: int) -> None:
    """A pair of interfaces, one of them in the namespace of a process that is waiting for it."""
    inside = f"nsenter -t {pid} -n"
    for command in (
        "ip link set lo up",
        "ip link add name here type veth peer name there",
        f"ip link set there netns {pid}",
        f"ip addr add {RECEIVERS}/24 dev here",
        "ip link set here up",
        f"{inside} ip link set lo up",
        f"{inside} ip addr add {SERVICE}/24 dev there",
        f"{inside} ip link set there up",
        f"{inside} ip route add 239.0.0.0/8 dev there",
        "ip route add 239.0.0.0/8 dev here",
    ):
        subprocess.run(command.split(), check=True)


def overrun(buffer_bytes: int, seconds: float, packets_per_s: int) -> str:
    """What a client with such a buffer loses of a steady flow of packets, each with one trade."""
    group, _ = free_groups()
    began, over = FORK.Event(), FORK.Event()
    arguments = (group, began, over, int(seconds * packets_per_s), packets_per_s)
    sending = FORK.Process(target=_send_steadily, args=arguments)
    sending.start()
    trades, lost = 0, 0
    with MulticastClient(
        f"multicast://{group}", interface=LOOPBACK, buffer_bytes=buffer_bytes
    ) as client:
        client.connect()
        began.set()
        for each in client:
            trades += isinstance(each, Trade)
            if isinstance(each, Loss):
                lost += each.count
            if isinstance(each, End):
                break
    over.set()
    sending.join()
    share = f"one in {(trades + lost) / lost:,.0f}" if lost else "none"
    return f"{buffer_bytes:9,} bytes: {trades + lost:,} packets, {lost:,} lost, {share}"


def _send_steadily(
    group: Group, began: SyncEvent, over: SyncEvent, packets: int, packets_per_s: int
) -> None:
    """Send packets of a trade each, thirty at once, and then the END until the client has it."""
    header = replace(HEADER, next_seq=1)
    packer, opener = Packer(header), Packer(header, number=2**32 - 1_000)
    trades = (Trade(BTC, each, 5, 6, 7, False) for each in range(1, packets + 1))
    blocks = (Block(first_seq=each.trade_id, trades=[each], received_ns=1) for each in trades)
    made = [packer.pack(frame(encode_block(each, HEADER)), 1)[0] for each in blocks]
    sock = open_socket(group, interface=LOOPBACK, ttl=1, packet_bytes=1_400)
    while not began.wait(0.02):
        for each in opener.opening(1, is_last=True):
            sock.send(each)
    begun_s = time.monotonic()
    for number, packet in enumerate(made):
        sock.send(packet)
        if number % 30 == 0:
            time.sleep(max(0.0, begun_s + number / packets_per_s - time.monotonic()))
    end = End(reason=EndReason.SHUTDOWN, last_seq=packets, retry_ms=None, why="that was all")
    while not over.wait(0.1):
        sock.send(packer.end(end, 1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.multicast")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.01, 0.1])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--buffers", type=int, nargs="+", default=[])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.serve:
        trio.run(serve, said.records, 0.001)
        return
    if said.namespaces and not said.inside:
        command = ["unshare", "-rn", sys.executable, "-m", "tests.stress.multicast", "--inside"]
        os.execvp(command[0], [*command, *sys.argv[1:]])
    if said.buffers:
        for each in said.buffers:
            print(overrun(each, 5.0, 30_000), flush=True)
        return
    print(f"seed {said.seed}, {'two namespaces' if said.inside else 'loopback'}")
    for rate in said.rates:
        run = between_namespaces if said.inside else on_loopback
        print(trio.run(run, rate, said.records, said.seed), flush=True)


if __name__ == "__main__":
    main()
