"""What readers send: requests a service understands, and such as it has to refuse."""

import json
from typing import Any

from tests.vectors.rejected import LIMIT_EXCEEDED, MALFORMED
from tests.vectors.spelling import Value, framed
from tests.vectors.values import EPOCH_NS, MAX_SEQ, U64_MAX, Vector

MISUNDERSTOOD = "one that cannot be understood"
TOO_LONG = "A request of more than 4,096 bytes"

_MOST_BYTES = 4_096


def asked(name: str, about: str, text: str, **expected: Any) -> Vector:
    """A request that asks for the defaults, but for what is `expected` otherwise."""
    request = {"start": "live", "slow": "skip", "token": None, "channel": ""} | expected
    members = {"frame": framed(text.encode()).hex(), "request": request}
    return Vector(name=name, about=about, members=members)


def position(seq: int, epoch_ns: int = EPOCH_NS) -> Value:
    return {"epoch_ns": epoch_ns, "seq": seq}


def requests() -> list[Vector]:
    at = '{"start":{"epoch_ns":%s,"seq":%s}}'
    time = '{"start":{"time_ns":%s}}'
    first, most = position(1, 0), position(MAX_SEQ, U64_MAX)
    longest = json.dumps({"token": "x" * (_MOST_BYTES - len('{"token": ""}'))})
    return [
        asked("no members", "What silence stands for.", "{}"),
        asked("live", "The default, spelled out.", '{"start":"live","slow":"skip"}'),
        asked("oldest", "All that there is.", '{"start":"oldest"}', start="oldest"),
        asked("disconnect", "Rather than skip.", '{"slow":"disconnect"}', slow="disconnect"),
        asked("a token", "It is any text.", '{"token":"秘\\u5bc6 \\n\\""}', token='秘密 \n"'),
        asked("an empty token", "It is a string, too.", '{"token":""}', token=""),
        asked("a token that says null", "It is a string, too.", '{"token":"null"}', token="null"),
        asked("a channel", "By its name.", '{"channel":"perps"}', channel="perps"),
        asked("an empty channel", "The first one.", '{"channel":""}'),
        asked("no token", "null stands for none.", '{"token":null}'),
        asked("the first place of all", "Epoch 0, number 1.", at % (0, 1), start=first),
        asked("the last place of all", "Each at its limit.", at % (U64_MAX, MAX_SEQ), start=most),
        asked("strings of digits", "Likewise.", at % (f'"{U64_MAX}"', f'"{MAX_SEQ}"'), start=most),
        asked("a time", "Unix ns.", time % EPOCH_NS, start={"time_ns": EPOCH_NS}),
        asked("the first time of all", "1970.", time % 0, start={"time_ns": 0}),
        asked("a time in digits", "2554.", time % f'"{U64_MAX}"', start={"time_ns": U64_MAX}),
        asked(
            "members of a later version",
            "They are ignored, in a position as well.",
            '{"start":{"epoch_ns":7,"seq":5,"of":"BTCUSDT"},"compress":[1,{"x":null}]}',
            start=position(5, 7),
        ),
        asked("blanks", "JSON allows them.", ' {\n\t"start" : "oldest" }\r\n', start="oldest"),
        asked("the longest request", "4,096 bytes.", longest, token=json.loads(longest)["token"]),
    ]


def rejected_requests() -> list[Vector]:
    return [_misunderstood(text) for text in _TEXTS] + [
        _rejected("bytes that are not UTF-8", b'{"token":"\xff"}'),
        _rejected("a byte order mark", b"\xef\xbb\xbf{}"),
        _rejected("nested too deep", b"[" * 4_000),
        _rejected("a request of 4,097 bytes", b" " * 4_095 + b"{}", TOO_LONG, LIMIT_EXCEEDED),
    ]


_TEXTS = (
    "",
    "{",
    "{}{}",
    "[]",
    "null",
    '"live"',
    "GET / HTTP/1.1\r\n\r\n",
    '{"start":"now"}',
    '{"start":"LIVE"}',
    '{"start":null}',
    '{"start":5}',
    '{"start":{}}',
    '{"start":{"epoch_ns":7}}',
    '{"start":{"seq":7}}',
    '{"start":{"epoch_ns":7,"seq":0}}',
    '{"start":{"epoch_ns":7,"seq":-1}}',
    '{"start":{"epoch_ns":-1,"seq":1}}',
    '{"start":{"epoch_ns":7,"seq":9223372036854775808}}',
    '{"start":{"epoch_ns":18446744073709551616,"seq":1}}',
    '{"start":{"epoch_ns":7,"seq":"9223372036854775808"}}',
    '{"start":{"epoch_ns":7,"seq":1.5}}',
    '{"start":{"epoch_ns":7,"seq":5.0}}',
    '{"start":{"epoch_ns":7,"seq":1e1}}',
    '{"start":{"epoch_ns":7,"seq":"5.0"}}',
    '{"start":{"epoch_ns":7,"seq":"1e1"}}',
    '{"start":{"epoch_ns":7,"seq":"05"}}',
    '{"start":{"epoch_ns":"-0","seq":5}}',
    '{"start":{"epoch_ns":"7\\n","seq":5}}',
    '{"start":{"epoch_ns":7,"seq":null}}',
    '{"start":{"epoch_ns":7,"seq":true}}',
    '{"start":{"epoch_ns":7,"seq":""}}',
    '{"start":{"epoch_ns":7,"seq":" 5"}}',
    '{"start":{"epoch_ns":7,"seq":"+5"}}',
    '{"start":{"epoch_ns":7,"seq":"5 "}}',
    '{"start":{"epoch_ns":7,"seq":"1_0"}}',
    '{"start":{"epoch_ns":7,"seq":"0x5"}}',
    '{"start":{"epoch_ns":7,"seq":"\u0661"}}',
    '{"start":{"time_ns":-1}}',
    '{"start":{"time_ns":18446744073709551616}}',
    '{"start":{"time_ns":"18446744073709551616"}}',
    '{"start":{"time_ns":1.5}}',
    '{"start":{"time_ns":"05"}}',
    '{"start":{"time_ns":"2026-11-29"}}',
    '{"start":{"time_ns":null}}',
    '{"start":{"time_ns":7,"seq":5}}',
    '{"start":{"time_ns":7,"epoch_ns":7}}',
    '{"start":{"time_ns":7,"epoch_ns":7,"seq":5}}',
    '{"slow":"wait"}',
    '{"slow":null}',
    '{"token":5}',
    '{"token":["x"]}',
)


def _misunderstood(text: str) -> Vector:
    return _rejected(text or "no bytes at all", text.encode())


def _rejected(
    name: str, payload: bytes, rule: str = MISUNDERSTOOD, error: str = MALFORMED
) -> Vector:
    members = {"frame": framed(payload).hex(), "rule": rule, "error": error}
    return Vector(name=name, about=f"Answer with END (BAD_REQUEST): {rule}.", members=members)
