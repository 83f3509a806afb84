from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from fanout.config import Config, SourceConfig
from fanout.config.options import Kind, Option, made_from, markdown_table, options_of
from fanout.config.secret import Secret
from fanout.config.simulate import SimulateConfig
from fanout.errors import UsageError
from fanout.transports import TRANSPORTS

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    depth_s: Annotated[float, Option("How deep.")] = 2.5


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    size_bytes: Annotated[int, Option("How much.", kind=Kind.SIZE)] = 2048
    names: Annotated[tuple[str, ...], Option("Which.", env="WHICH")]
    inner: Inner = msgspec.field(default_factory=Inner)
    token: Annotated[Secret | None, Option("A file.", flag="--file", kind=Kind.TOKEN)] = None
    in_a_table: Annotated[int, Option("Where.", is_in_tables_only=True)] = 0
    keep_s: Annotated[int, Option("How long.", kind=Kind.DURATION)] = 5_400
    no_option: int = 7


def test_annotated_fields_become_options_in_their_order() -> None:
    assert [each.flag for each in options_of(Outer)] == [
        "--size",
        "--names",
        "--depth",
        "--file",
        "--keep",
    ]
    assert [each.env("cmd") for each in options_of(Outer)] == [
        "FANOUT_CMD_SIZE",
        "WHICH",
        "FANOUT_CMD_DEPTH",
        "FANOUT_CMD_FILE",
        "FANOUT_CMD_KEEP",
    ]
    assert [each.name for each in options_of(Outer, in_tables=True)][-2] == "in-a-table"


def test_a_default_is_shown_as_it_would_be_typed() -> None:
    assert [each.default_text for each in options_of(Outer)[::2]] == ["2KiB", 2.5, "1h30m"]
    assert [each.is_required for each in options_of(Outer)] == [False, True, False, False, False]


def test_typed_values_become_a_configuration() -> None:
    said = {"size": "1MiB", "names": ["a", "b"], "file": "path", "in-a-table": 1, "keep": "7d"}
    made = made_from(Outer, said, token=lambda path: Secret(f"of-{path}"), no_option=8)
    assert (made.size_bytes, made.names, made.no_option) == (1024 * 1024, ("a", "b"), 8)
    assert made.keep_s == 7 * 86_400
    assert made_from(Outer, {**said, "keep": ""}, token=lambda path: None, no_option=8).keep_s == 0
    assert made.token is not None
    assert made.token.reveal() == "of-path"
    with pytest.raises(UsageError, match="'x' is not a size"):
        made_from(Outer, {**said, "size": "x"}, token=lambda path: None)


@pytest.mark.parametrize("command", ["", *TRANSPORTS, "simulate"])
def test_the_documentation_lists_every_option(command: str) -> None:
    known = {"": (SourceConfig, Config), "simulate": (SimulateConfig,)}
    types = known.get(command) or (TRANSPORTS[command].config,)
    assert markdown_table(options_of(*types), command) in DOCUMENT.read_text()
