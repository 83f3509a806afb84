"""Reads the JSON layout of another consumer's configuration.

    {
      "udp_config": {"multicast_group": "239.10.1.1", "port": 9100, "interface": "10.0.0.5",
                     "buffer_size": 8388608},
      "symbols": [{"exchange": "binance", "symbol": "BTCUSDT", "tick_size": 0.1, "enabled": true}],
      "processing_config": {"cpu_core": 2, "ring_buffer_size": 65536, "batch_size": 64,
                            "max_symbols": 2048}
    }

Each setting does what its name says. `udp_config` is an input `multicast://GROUP:PORT`, and
`buffer_size` its receive buffer in bytes. `ring_buffer_size` is the most records between the input
and the processing, `batch_size` the most that are processed before the outputs get their rows.
A key that is not in this layout is refused, since nothing would do what it says.
"""

from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Final

import msgspec

from fanout.analytics.consumer.config import (
    BATCH_RECORDS,
    MAX_RECORDS,
    MAX_SYMBOLS,
    QUEUE_RECORDS,
    ConsumerConfig,
    InputConfig,
    ProcessingConfig,
    symbols_of,
)
from fanout.analytics.consumer.tables import ConsumerConfigError, Table

MAX_BUFFER_BYTES: Final = 2**30


def parse_described(text: str, source: str, *, venues: Mapping[str, str]) -> ConsumerConfig:
    """A configuration in JSON. Arguments and errors are those of `parse_consumer`."""
    try:
        said = msgspec.json.decode(text.lstrip("\ufeff"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConsumerConfigError(f"{source} is no JSON: {error}") from error
    top = Table(source, "", said)
    udp, processing = top.table("udp_config"), _processing(top.table("processing_config"))
    config = ConsumerConfig(
        inputs=() if udp is None else (_input(udp),),
        symbols=symbols_of(
            top.tables("symbols", most=64 * MAX_SYMBOLS),
            source,
            venues=venues,
            most=processing.max_symbols,
            venue_key="exchange",
            tick_key="tick_size",
        ),
        processing=processing,
    )
    top.close()
    return config


def _input(table: Table) -> InputConfig:
    group = table.either("multicast_group", "group")
    interface = table.either("interface", "interface_ip")
    buffer = table.either("buffer_size", "receive_buffer_size")
    table.require(group, "port")
    address = _ipv4(table, group)
    if not address.is_multicast:
        raise table.fault(group, "no multicast group: 224.0.0.0 to 239.255.255.255")
    port = table.whole("port", 0, 1, 65_535)
    source_ip = str(_ipv4(table, interface)) if table.has(interface) else ""
    buffer_bytes = table.whole(buffer, None, 4_096, MAX_BUFFER_BYTES)
    table.close()
    return InputConfig(
        address=f"multicast://{address}:{port}",
        # Any interface is no interface in particular.
        interface="" if source_ip == "0.0.0.0" else source_ip,
        buffer_bytes=buffer_bytes,
    )


def _ipv4(table: Table, key: str) -> IPv4Address:
    try:
        return IPv4Address(table.text(key))
    except AddressValueError:
        raise table.fault(key, "an IPv4 address is needed") from None


def _processing(table: Table | None) -> ProcessingConfig:
    if table is None:
        return ProcessingConfig()
    config = ProcessingConfig(
        cpu=table.whole("cpu_core", None, 0, 65_535),
        queue_records=table.whole("ring_buffer_size", QUEUE_RECORDS, 1, MAX_RECORDS),
        batch_records=table.whole("batch_size", BATCH_RECORDS, 1, MAX_RECORDS),
        max_symbols=table.whole("max_symbols", MAX_SYMBOLS, 1, MAX_SYMBOLS),
    )
    table.close()
    return config
