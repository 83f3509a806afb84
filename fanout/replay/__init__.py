"""Replay: a journal, served as if it were live."""

from fanout.replay.root import run_replay

__all__ = ["run_replay"]
