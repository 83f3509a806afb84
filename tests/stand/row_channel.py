"""A channel of rows of features: a test publishes rows as a consumer of other channels does."""

from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.protocol import Absence, FeatureRow
from fanout.protocol.instrument import Instrument
from tests.protocol.golden import BTC, ROWS_HEADER


def row_channel(log_bytes: int = 50_000_000) -> Channel:
    header = replace(ROWS_HEADER, epoch_ns=1, next_seq=1)
    return Channel(header, log_bytes=log_bytes, wall_ns=lambda: 0)


def row_at(place: int, instrument: Instrument = BTC) -> FeatureRow:
    """The row of some moment. Each third has an absent value."""
    time_ns = 1_000_000 + 1_000 * place
    if place % 3:
        return FeatureRow(instrument, time_ns, (place + 0.5, -1 / (1 + place), 1e-9), bytes(3))
    values, absences = (place + 0.5, None, 1e9), bytes([0, Absence.EMPTY, 0])
    return FeatureRow(instrument, time_ns, values, absences)


def publish_rows(channel: Channel, first: int, count: int = 1) -> list[FeatureRow]:
    """Publish rows at once. Returns them as a reader gets them."""
    rows = [row_at(first + each) for each in range(count)]
    first_seq = channel.log.next_seq
    channel.publish(rows, received_ns=77, held_ns=1)
    return [replace(each, seq=first_seq + place, received_ns=77) for place, each in enumerate(rows)]
