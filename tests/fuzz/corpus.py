"""Where mutations begin: for each target a few inputs that are in order, the published bytes of the
wire first of all."""

import json
import string
from collections.abc import Iterator
from itertools import chain
from typing import Any

from fanout.protocol import START, Position, Request, encode_request, frame, ring_page
from fanout.protocol.framing import seal
from fanout.protocol.journal import (
    INDEX_MAGIC,
    FileHeader,
    Place,
    encode_file_header,
    encode_places,
)
from fanout.protocol.queue_page import (
    CAPACITY_WORD,
    HEADER_SLOTS_AT,
    MARK_SEQ_WORD,
    READ_WORD,
    WRITE_WORD,
)
from fanout.protocol.wire1 import Wire1Encoder
from tests.fanout.net.test_ws_frames import header, text
from tests.fanout.venues.test_binance import (
    AGGREGATE,
    MARKET,
    NOT_A_TRADE,
    RPI,
    TestBinanceUsdm,
    info,
    listed,
)
from tests.fanout.venues.test_binance_spot import SHUTDOWN, TestBinanceSpot
from tests.fanout.venues.test_binance_spot import TRADE as SPOT_TRADE
from tests.fuzz.queues import FRAMES, patch
from tests.protocol.golden import EVENTS, NAMES, WIRE_DATA, payload
from tests.protocol.test_hftp import BOOK_BYTES, TRADE_BYTES

BODY = slice(0, -4)
"""A payload without its CRC."""


def payloads() -> list[bytes]:
    """Every payload that was published: one of each kind, and the vectors for other languages,
    where they are."""
    return [*map(payload, NAMES), *_vectors()]


def _vectors() -> Iterator[bytes]:
    path = WIRE_DATA / "vectors.json"
    if path.exists():
        yield from _hex_in(json.loads(path.read_text()))


def _hex_in(value: Any) -> Iterator[bytes]:
    """All that is written in hex, wherever it stands."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _hex_in(each)
    elif isinstance(value, str) and len(value) > 8 and set(value) <= set(string.hexdigits):
        yield bytes.fromhex(value[: len(value) // 2 * 2])


def headers() -> list[bytes]:
    return _of_kind(b"\x02")


def blocks() -> list[bytes]:
    return _of_kind(b"\x10")


def quotes() -> list[bytes]:
    return _of_kind(b"\x11")


def books() -> list[bytes]:
    return _of_kind(b"\x12")


def orders() -> list[bytes]:
    return _of_kind(b"\x13")


def features() -> list[bytes]:
    return _of_kind(b"\x14")


def instruments() -> list[bytes]:
    return _of_kind(b"\x25")


def events() -> list[bytes]:
    return _of_kind(b"\x20\x21\x22\x23\x24")


def _of_kind(kinds: bytes) -> list[bytes]:
    """The bodies of all payloads whose first byte is one of these."""
    return [each[BODY] for each in payloads() if each[:1] and each[:1] in kinds]


def streams() -> list[bytes]:
    begin = frame(START) + frame(payload("header")) + frame(payload("instruments"))
    whole = begin + b"".join(frame(payload(each)) for each in ("snapshot", "trades", *EVENTS))
    renewed = whole[:-30] + frame(payload("header")) + frame(payload("instruments"))
    changed = begin + frame(payload("instruments")) + frame(payload("trades"))
    other = begin + frame(b"\x30unknown and longer than a CRC")
    rows = frame(START) + frame(payload("columns")) + frame(payload("instruments"))
    rows += frame(payload("features")) + frame(payload("status"))
    vectors = [each for each in _vectors() if each[:9] == frame(START)]
    updates = [
        begin + frame(seal(b"".join((body[:1], b"\2", body[2:])))) + frame(seal(body))
        for body in (payload(each)[BODY] for each in ("quotes", "book", "orders"))
    ]
    return [whole, begin, renewed, changed, other, *updates, rows, *vectors]


def journal_files() -> list[bytes]:
    begun = FileHeader(epoch_ns=1_795_219_200_000_000_000, first_seq=1_001, created_ns=1)
    segments = [encode_file_header(begun) + each for each in streams()[:5]]
    places = [
        Place(seq=1_001 + each, time_ns=each, offset=73 + 65_536 * each, opening=73)
        for each in range(5)
    ]
    return [*segments, encode_file_header(begun, INDEX_MAGIC) + encode_places(places)]


def requests() -> list[bytes]:
    position = Position(epoch_ns=1_795_219_200_000_000_000, seq=1_002)
    return [
        encode_request(Request()),
        encode_request(Request(start=position, token="secret")),
        b'{"start":"oldest","slow":"disconnect","more":[{"a":null}]}',
        b'{"start":{"epoch_ns":"1795219200000000000","seq":"1"}}',
        b'{"start":{"time_ns":1795219200000000000}}',
    ]


def greetings() -> list[bytes]:
    return [*map(frame, requests()), b"\x16\x03\x01\x00"]


def wire1_streams() -> list[bytes]:
    encoder = Wire1Encoder(
        symbols=["BTCUSDT", "币安人生USDT"],
        reference_ms=1_791_382_992_338,
        prices=[8_308_450_000, 12_345],
        quantities=[4_100, 90_000_000],
    )
    trades = [
        encoder.trade(0, 1_791_382_992_838, 8_309_170_000, 2_200, True),
        encoder.trade(1, 1_791_382_992_839, 12_300, 7_000_000, False),
    ]
    return [b"".join(map(frame, [encoder.header(), *trades]))]


def patches() -> list[bytes]:
    words = (CAPACITY_WORD, WRITE_WORD, MARK_SEQ_WORD, READ_WORD, HEADER_SLOTS_AT[1] // 8 + 1)
    odd = (0, 1, 4_096, 2**62, 2**64 - 1)
    one = [patch(8 * word, value.to_bytes(8, "little")) for word in words for value in odd]
    is_empty = patch(8 * READ_WORD, len(FRAMES).to_bytes(8, "little"))
    marks = [is_empty + patch(8 * MARK_SEQ_WORD, value.to_bytes(8, "little")) for value in odd]
    return [start + each for start in (b"\0", b"\xff") for each in (b"", *one, *marks)]


def hftp_packets() -> list[bytes]:
    return [BOOK_BYTES, TRADE_BYTES]


def ring_patches() -> list[bytes]:
    words = (
        ring_page.CAPACITY_WORD,
        ring_page.INTENT_WORD,
        ring_page.NEXT_SEQ_WORD,
        ring_page.TAIL_WORD,
        ring_page.SNAPSHOT_FROM_WORD,
        ring_page.LANDMARK_WORDS[0],
        ring_page.HEADER_SLOTS_AT[1] // 8,
        ring_page.HEADER_SLOTS_AT[1] // 8 + 2,
        ring_page.DATA_AT // 8,
    )
    odd = (0, 1, 4_200, 2**62, 2**64 - 1)
    one = [patch(8 * word, value.to_bytes(8, "little")) for word in words for value in odd]
    return [start + each for start in (b"\0", b"\xff") for each in (b"", *one)]


def messages() -> list[bytes]:
    following = MARKET.replace(b"8121136411", b"8121136412")
    late = MARKET.replace(b"8121136411", b"8121136420")
    answer = TestBinanceUsdm.acknowledgement
    refusal = b'{"error":{"code":2,"msg":"Invalid request"},"id":1}'
    lines = [MARKET, following, late, following, NOT_A_TRADE, RPI, answer]
    strange = [MARKET.replace(b"8121136411", str(10**17 + each).encode()) for each in range(4)]
    return [MARKET, b"\n".join(lines), b"\n".join([MARKET, *strange]), refusal]


def spot_messages() -> list[bytes]:
    following = SPOT_TRADE.replace(b"3735683259", b"3735683260")
    late = SPOT_TRADE.replace(b"3735683259", b"3735683270")
    answer = TestBinanceSpot.acknowledgement
    lines = [SPOT_TRADE, following, late, following, SHUTDOWN, answer]
    return [SPOT_TRADE, b"\n".join(lines), SHUTDOWN]


DEPTH = (
    b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,"T":1723161256298,'
    b'"s":"BTCUSDT","U":5123107832006,"u":5123107837557,"pu":5123107831937,'
    b'"b":[["58710.20","0.014"],["61496.50","0.010"],["61510.90","0.000"]],'
    b'"a":[["61800.30","1.135"],["61900.00","12.5"]]}}'
)


def depths() -> list[bytes]:
    spaced = DEPTH.replace(b",", b", ").replace(b":", b": ")
    return [DEPTH, spaced, DEPTH.replace(b'"pu":5123107831937,', b""), DEPTH.replace(b"58", b"-5")]


def book_changes() -> list[bytes]:
    """As `books.order_book` takes them: flags and counts, then levels of three bytes."""
    run = b"".join(price.to_bytes(2, "little") + b"\5" for price in range(300, 548))
    gone = run.replace(b"\5", b"\0")
    few = b"\x01\0\x07" + b"\x02\0\x09"
    return [
        b"\x09\x02" + run[:24] + few,
        b"\xf9\xf8" + run + run + b"\xf8\x02" + gone + few,
        b"\xfb\x00" + run + b"\x02\x02" + few + b"\x04\xf8" + run,
    ]


def listings() -> list[bytes]:
    first = info(listed(), listed(symbol="ETHUSDT"))
    later = info(listed(pricePrecision=4), listed(symbol="SOLUSDT"), listed(status="SETTLING"))
    return [first, later, info(listed(contractType=None)), info()]


def aggregates() -> list[bytes]:
    following = AGGREGATE.replace(b"3477868433", b"3477868434")
    late = AGGREGATE.replace(b"3477868433", b"3477868440")
    return [AGGREGATE, b"\n".join([AGGREGATE, following, late, following])]


def recent_trades() -> list[bytes]:
    body = TestBinanceUsdm.recent_trades_body
    return [body, b"[]", body.replace(b"28457", b"100").replace(b"28458", b"199")]


def recent_aggregates() -> list[bytes]:
    row = b'{"a":%d,"p":"4.00","q":"1.5","f":10,"l":12,"T":1499865549590,"m":true}'
    return [b"[" + b",".join(row % each for each in ids) + b"]" for ids in ((100, 101), (150, 300))]


def markets() -> list[bytes]:
    rows = [listed(), listed(symbol="币安人生USDT", pricePrecision=5, quantityPrecision=0)]
    trades = TestBinanceUsdm.recent_trades_body
    closed = info(listed(status="SETTLING"), rows[1])
    return [info(*rows) + b"\n" + trades, info(*rows) + b"\n[]", closed + b"\n[]"]


def times() -> list[bytes]:
    return [b'{"serverTime":1791382992840}']


def rest_answers() -> list[bytes]:
    error = TestBinanceUsdm.error_body
    banned = b'{"code":-1003,"msg":"banned until 1791383992840."}'
    return [
        b"200\nx-mbx-used-weight-1m: 12\n\n" + error,
        b"429\nretry-after: 7\n\n" + error,
        b"418\nretry-after: 70000\n\n" + banned,
        b"200\ncontent-encoding: gzip\n\n"
        + bytes.fromhex("1f8b08000000000002ffabaea50043bfa6a302000000"),
        *(b"%d\n\n" % status + error for status in (400, 401, 403, 451, 503)),
    ]


def websockets() -> list[bytes]:
    fragments = header(0x01, 3) + b"one" + header(0x89, 2) + b"hi" + header(0x80, 3) + b"two"
    close = header(0x88, 5) + b"\x03\xe8bye"
    return [
        text(3) + text(0) + text(200) + fragments + text(5) + close,
        header(0x82, 4) + b"\0\1\2\3" + text(1),
        header(0x81, 2**40) + b"long",
        header(0x81, 3, masked=0x80) + b"maskabc",
    ]


def handshakes() -> list[bytes]:
    accepted = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    refused = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"
    return [accepted + text(3), accepted, refused, refused.replace(b"429", b"451")]


def http_requests() -> list[bytes]:
    get = b"GET /%s HTTP/1.1\r\nHost: x\r\nAccept: text/plain;q=0.5, */*\r\n\r\n"
    posted = b"POST /status HTTP/1.1\r\nHost: x\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    paths = (b"metrics", b"healthz", b"readyz?a=b", b"status", b"nothing")
    return [
        *(get % path for path in paths),
        b"HEAD" + (get % b"status")[3:] + get % b"metrics",
        posted + b"Content-Length: 3\r\n\r\nabc",
        posted + chunked,
    ]


def proxies() -> list[bytes]:
    connected = b"\x05\x00" + b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
    named = b"\x05\x00" + b"\x05\x00\x00\x03\x05venue\x00\x50"
    http = b"HTTP/1.1 200 Connection established\r\nA: b\r\n\r\n"
    refused = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    return [b"\0" + http, b"\0" + refused, b"\1" + connected, b"\1" + named, b"\1\x05\xff"]


def configs() -> list[bytes]:
    whole = """
assets = ["SOLUSDT"]
venue = "sim"
connections = 3
strict = true
log-bytes = 131072
[tcp]
port = 9001
max-lag = 1.5
[shm]
name = "q"
keep = true
"""
    kinds = 'assets = "A"\nproxy = 1979-05-27T07:32:00Z\n"a\\nb" = {x = [1, 0xff, inf]}\n'
    return [whole.encode(), kinds.encode(), b"[tcp]\nport = true\n", b"tcp = 1\n"]


def all_of(seeds: list[bytes]) -> bytes:
    """All of them behind each other: what a mutation may splice in."""
    return bytes(chain.from_iterable(seeds))
