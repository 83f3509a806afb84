"""A channel of rows of features."""

from typing import Any

import pytest
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.channel.relay import Relay, frames_of
from fanout.protocol import (
    FrameKind,
    Loss,
    LossReason,
    MalformedError,
    NotRepresentableError,
    Position,
    Request,
    Start,
    SubscriberSession,
    encode_event,
    frame,
)
from fanout.protocol.constants import MAX_BLOCK_ROWS
from fanout.protocol.header import opening
from tests.protocol.golden import LIFE
from tests.stand.row_channel import publish_rows, row_at, row_channel

LOST = Loss(first_seq=4, last_seq=5, reason=LossReason.DAMAGED)


def frames_from(channel: Channel, request: Request) -> bytes:
    reader = Reader(channel)
    data = reader.greeting + reader.start(request)
    while piece := reader.next_piece():
        data += piece
    return data


def records_of(channel: Channel, start: Any = Start.OLDEST) -> list[Any]:
    session = SubscriberSession()
    session.ask(start)
    session.receive(frames_from(channel, Request(start=start)))
    return [each for records in iter(session.next_records, None) for each in records]


def test_rows_come_out_as_they_were_published() -> None:
    channel = row_channel()
    sent = publish_rows(channel, 0, 7) + publish_rows(channel, 7)
    assert records_of(channel) == sent
    assert records_of(channel, Position(epoch_ns=1, seq=4)) == sent[3:]
    assert (channel.rows, channel.blocks, channel.book_updates) == (8, 2, 0)


def test_many_rows_are_divided_into_blocks() -> None:
    channel = row_channel()
    sent = publish_rows(channel, 0, 2 * MAX_BLOCK_ROWS + 1)
    assert channel.blocks == 3
    assert records_of(channel) == sent


def test_a_channel_of_many_columns_makes_blocks_of_few_rows() -> None:
    wide = row_channel()
    header = replace(wide.header, columns=tuple(f"c{place}" for place in range(256)))
    channel = Channel(header, log_bytes=1_000_000, wall_ns=lambda: 0)
    rows = [replace(row_at(1), values=(0.5,) * 256, absences=bytes(256))] * 57
    channel.publish(rows, received_ns=1, held_ns=1)
    assert channel.blocks == 3
    assert len(records_of(channel)) == 57


def test_who_joins_gets_the_newest_row_of_each_instrument_without_a_number() -> None:
    channel = row_channel()
    publish_rows(channel, 0, 5)
    channel.publish([row_at(9, LIFE)], received_ns=3, held_ns=1)
    assert records_of(channel, Start.LIVE) == [row_at(4), row_at(9, LIFE)]
    assert records_of(row_channel(), Start.LIVE) == []


def test_the_snapshot_of_more_instruments_than_a_block_has_rows_is_divided() -> None:
    few = row_channel()
    instruments = tuple(
        replace(LIFE, index=index, symbol=f"S{index}") for index in range(MAX_BLOCK_ROWS + 1)
    )
    header = replace(
        few.header, instruments=instruments, references=few.header.references[:1] * len(instruments)
    )
    channel = Channel(header, log_bytes=1_000_000, wall_ns=lambda: 0)
    rows = [row_at(5, each) for each in instruments]
    channel.publish(rows, received_ns=3, held_ns=1)
    assert records_of(channel, Start.LIVE) == rows


def test_a_row_of_an_instrument_whose_units_change_is_not_shown_any_more() -> None:
    channel = row_channel()
    publish_rows(channel, 0)
    changed = replace(channel.header.instruments[0], price_exponent=-7)
    channel.change([changed], [channel.header.references[0]])
    assert records_of(channel, Start.LIVE) == []


def test_a_reader_that_falls_off_the_log_is_told_what_it_lost() -> None:
    channel = row_channel(log_bytes=5_000)
    reader, session = Reader(channel), SubscriberSession()
    session.receive(reader.greeting + reader.start(Request()))
    for first in range(0, 1_000, 10):
        publish_rows(channel, first, 10)
    while piece := reader.next_piece():
        session.receive(piece)
    records: list[Any] = [each for records in iter(session.next_records, None) for each in records]
    lost, *rows = records
    assert (lost.first_seq, lost.reason) == (1, LossReason.SLOW)
    assert [each.seq for each in rows] == list(range(lost.last_seq + 1, 1_001))


def relayed(channel: Channel, data: bytes) -> Relay:
    relay = Relay(Channel(channel.header, log_bytes=1_000_000, wall_ns=lambda: 0))
    for each in frames_of(data):
        if each[4:9] != b"START" and each[4] != FrameKind.HEADER:
            relay.publish(relay.read(each))
    return relay


def test_a_relay_repeats_rows_and_shows_joiners_the_newest() -> None:
    channel = row_channel()
    sent = publish_rows(channel, 0, 7)
    relay = relayed(channel, frames_from(channel, Request(start=Start.OLDEST)))
    assert records_of(relay.channel) == sent
    assert records_of(relay.channel, Start.LIVE) == [row_at(6)]
    assert (relay.channel.rows, relay.channel.blocks) == (7, 1)


def test_a_relay_that_lost_something_shows_joiners_no_rows() -> None:
    channel = row_channel()
    publish_rows(channel, 0, 3)
    relay = relayed(channel, frames_from(channel, Request(start=Start.OLDEST)))
    relay.publish(relay.read(frame(encode_event(LOST))))
    assert records_of(relay.channel, Start.LIVE) == []
    assert relay.channel.log.next_seq == 6
    lost = records_of(relay.channel)[-1]
    assert lost == LOST


def test_a_relay_refuses_a_header_with_other_columns() -> None:
    channel = row_channel()
    relay = relayed(channel, frames_from(channel, Request(start=Start.OLDEST)))
    renamed = replace(channel.header, columns=channel.header.columns[::-1], next_seq=9)
    *frames, instruments = frames_of(opening(renamed))
    for each in frames:
        relay.publish(relay.read(each))
    with pytest.raises(MalformedError, match="other columns than the channel"):
        relay.publish(relay.read(instruments))
    assert relay.channel.log.next_seq == 1


@pytest.mark.parametrize("place", [0, 1, MAX_BLOCK_ROWS + 1])
def test_a_row_of_another_width_is_refused_and_leaves_the_channel_usable(place: int) -> None:
    channel = row_channel()
    rows = [row_at(each) for each in range(MAX_BLOCK_ROWS + 1)]
    rows.insert(place, replace(row_at(1), values=(1.0, 2.0), absences=bytes(2)))
    with pytest.raises(NotRepresentableError, match="row of 2 values and 2 absences, in a channel"):
        channel.publish(rows, received_ns=77, held_ns=1)
    sent = publish_rows(channel, 600, 2)
    assert records_of(channel)[-2:] == sent
    assert [each.seq for each in records_of(channel)] == list(range(1, channel.log.next_seq))
