"""The work behind `fanout paper`.

    inputs -> merger -> Session: Floor -> journal -> lines on standard output
                           ^
                Watch: kill files, SIGUSR1, heartbeats

`run` is the command, `running` its composition, with the engine of `fanout.cli.analysing`.
`session` is a run apart from tasks, `files` its directory, and `watch` what acts on it besides
records. `writing` writes its journal, and `syncing` puts that on the disk.
`kill` and `status` are the other commands, `killing`, `standings` and `view` their work.
"""

from typing import Final

DEFAULT_JOURNAL: Final = "paper"
"""That of `fanout.trading.running.config`, without its imports: every command reads this."""
