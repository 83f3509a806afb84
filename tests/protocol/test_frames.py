"""What holds for every kind of frame: published bytes, and what becomes of damaged ones."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.protocol import PeerError
from fanout.protocol.framing import seal, unseal
from tests.protocol import golden

every_kind = pytest.mark.parametrize("name", golden.NAMES)


@every_kind
def test_the_published_bytes_are_read_and_written(name: str) -> None:
    assert golden.decode(name, golden.payload(name)) == golden.value(name)
    assert golden.encode(name) == golden.payload(name)


@every_kind
def test_every_flipped_bit_is_noticed(name: str) -> None:
    payload = golden.payload(name)
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PeerError):
            golden.decode(name, bytes(damaged))


@every_kind
def test_every_truncation_is_noticed(name: str) -> None:
    payload = golden.payload(name)
    for length in range(len(payload)):
        with pytest.raises(PeerError):
            golden.decode(name, payload[:length])


@every_kind
def test_every_truncation_with_a_right_crc_is_noticed(name: str) -> None:
    body = unseal(golden.payload(name))
    for length in range(1, len(body)):
        with pytest.raises(PeerError):
            golden.decode(name, seal(body[:length]))


@every_kind
def test_a_longer_body_is_read_as_far_as_it_is_known(name: str) -> None:
    body = unseal(golden.payload(name))
    assert golden.decode(name, seal(body + b"from a later version")) == golden.value(name)


@every_kind
def test_garbage_after_the_crc_is_noticed(name: str) -> None:
    with pytest.raises(PeerError):
        golden.decode(name, golden.payload(name) + b"\0")


@every_kind
def test_random_damage_with_a_right_crc_raises_the_projects_own_error_or_nothing(name: str) -> None:
    chance = random.Random(1)
    body = unseal(golden.payload(name))
    for _ in range(2_000):
        damaged = bytearray(body)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(body))] = chance.randrange(256)
        with contextlib.suppress(PeerError):
            golden.decode(name, seal(damaged[: chance.randint(1, len(body))]))


@given(st.sampled_from(golden.NAMES), st.binary(max_size=200), st.booleans())
def test_random_bytes_raise_the_projects_own_error_and_no_other(
    name: str, data: bytes, is_sealed: bool
) -> None:
    kind = golden.payload(name)[:1]
    with contextlib.suppress(PeerError):
        golden.decode(name, seal(kind + data) if is_sealed else kind + data)
