"""The former name of `Channel`, for modules that still import it."""

from fanout.channel.channel import Channel as Publisher

__all__ = ["Publisher"]
