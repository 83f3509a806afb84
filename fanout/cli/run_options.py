"""The options of the commands that run until their inputs end."""

from typing import Annotated

import typer

Follow = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Wait for more at the end of a journal.")
]
HttpPort = Annotated[
    int | None,
    typer.Option(
        help="Answer /metrics, /healthz, /readyz and /status there; 0 takes a free port.",
        min=0,
        max=65535,
    ),
]
HttpHost = Annotated[
    str | None,
    typer.Option(help="Address to answer on. \\[default: 127.0.0.1]", show_default=False),
]
Cpu = Annotated[int | None, typer.Option(help="Keep the process on this core.", min=0)]
