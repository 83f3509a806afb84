"""The former place of `test_channel`'s helpers, for tests that still import them from here."""

from tests.fanout.channel.test_channel import Reader
from tests.fanout.channel.test_channel import new_channel as new_publisher

__all__ = ["Reader", "new_publisher"]
