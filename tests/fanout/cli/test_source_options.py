"""The options of the commands that read a stream."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from fanout.cli.source import Source
from fanout.cli.source_options import Address, takes_source


def said_by(*words: str, without: tuple[str, ...] = ()) -> tuple[int, list[Source]]:
    """The exit code of a command that was called so, and the sources that it got."""
    got: list[Source] = []

    @takes_source(without=without)
    def command(
        address: Address,
        limit: Annotated[int, typer.Option(help="Of its own.")] = 0,
        *,
        source: Source,
    ) -> None:
        """Help."""
        assert (address, limit) == ("tcp://h:1", 3)
        got.append(source)

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, ["tcp://h:1", "--limit", "3", *words])
    return result.exit_code, got


def test_a_command_gets_what_was_typed_beside_its_own_options() -> None:
    words = "--symbol A,B --symbol C --market-only --start oldest --no-reconnect --group-b g"
    assert said_by(*words.split(), "--interface", "127.0.0.1") == (
        0,
        [
            Source(
                address="",
                symbols=["A,B", "C"],
                market_only=True,
                start="oldest",
                reconnect=False,
                group_b="g",
                interface="127.0.0.1",
            )
        ],
    )


def test_what_was_not_typed_is_as_in_a_source() -> None:
    assert said_by() == (0, [Source(address="")])


def test_an_option_that_is_left_out_is_refused() -> None:
    code, got = said_by("--start", "oldest", without=("start",))
    assert (code, got) == (2, [])
    assert said_by(without=("start",)) == (0, [Source(address="")])


def test_a_variable_stands_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_TOKEN_FILE", "token")
    assert said_by() == (0, [Source(address="", token_file="token")])


def test_a_name_that_is_no_option_cannot_be_left_out() -> None:
    with pytest.raises(AssertionError, match="would leave out nothing"):
        takes_source(without=("symbol",))
