from pathlib import Path

import pytest
from typer import Exit

from fanout.cli.outcome import exit_codes
from fanout.cli.secrets import known_variables, read_credentials, read_token
from fanout.config import SourceConfig
from fanout.errors import ConfigError, OperatorError, UsageError, VenueKeyError
from fanout.venues import VENUES, BinanceSpot, Credentials
from fanout.venues.values import SecretNames
from tests.fanout.cli.processes import at_once

PAIR = SecretNames(id="FANOUT_TWO_ID", secret="FANOUT_TWO_SECRET")


class Two(BinanceSpot):
    """A venue that takes an id and a secret."""

    name = "two"
    secrets = PAIR


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VENUES, "two", Two)


@pytest.mark.parametrize("data", [b"mellon", b" mellon\r\n", b"\xef\xbb\xbfmellon\n"])
def test_a_token_file_may_have_blanks_and_a_byte_order_mark(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)
    token = read_token(str(path))
    assert token is not None
    assert token.reveal() == "mellon"


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", "mellon".encode("utf-16")])
def test_a_token_file_without_a_token_is_refused_by_its_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)
    with pytest.raises(OperatorError, match=f"--token-file {path}: "):
        read_token(str(path))


def test_a_venue_without_credentials_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_credentials(None) is None
    monkeypatch.setenv("FANOUT_TWO_ID", "")
    assert read_credentials(PAIR) is None


def test_each_of_id_and_secret_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbfsesame\r\n")
    monkeypatch.setenv("FANOUT_TWO_ID", " ali ")
    monkeypatch.setenv("FANOUT_TWO_SECRET_FILE", str(path))
    assert read_credentials(PAIR) == Credentials(id="ali", secret="sesame")
    assert read_credentials(SecretNames(secret="FANOUT_TWO_SECRET")) == Credentials(secret="sesame")


@pytest.mark.parametrize(
    ("variables", "kind", "says"),
    [
        (
            {"FANOUT_TWO_ID": "ali"},
            UsageError,
            (
                "FANOUT_TWO_ID is set without FANOUT_TWO_SECRET: set FANOUT_TWO_SECRET or "
                "FANOUT_TWO_SECRET_FILE too"
            ),
        ),
        (
            {"FANOUT_TWO_SECRET": "sesame"},
            UsageError,
            "FANOUT_TWO_SECRET is set without FANOUT_TWO_ID",
        ),
        (
            {"FANOUT_TWO_SECRET": "sesame", "FANOUT_TWO_SECRET_FILE": "/dev/null"},
            UsageError,
            "FANOUT_TWO_SECRET and FANOUT_TWO_SECRET_FILE are both set: unset one of them",
        ),
        ({"FANOUT_TWO_SECRET_FILE": "/nowhere"}, ConfigError, "cannot read FANOUT_TWO_SECRET_FILE"),
        ({"FANOUT_TWO_SECRET_FILE": "/dev/null"}, UsageError, "FILE /dev/null: a token of 0"),
        ({"FANOUT_TWO_SECRET": "open sesame"}, UsageError, "FANOUT_TWO_SECRET: a token is"),
    ],
)
def test_unusable_credentials_are_refused_by_the_name_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: type[Exception], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=says) as caught:
        read_credentials(PAIR)
    assert "sesame" not in str(caught.value)


@pytest.mark.usefixtures("two")
def test_the_variables_of_every_venue_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_TWO_ID_FILE", "/somewhere")
    known = known_variables()
    for venue in VENUES.values():
        for name in (venue.secrets.id, venue.secrets.secret) if venue.secrets else ():
            assert name is None or {name, f"{name}_FILE"} <= set(known)
    assert [name for name, is_set in known.items() if is_set] == ["FANOUT_TWO_ID_FILE"]


@pytest.mark.usefixtures("two")
def test_only_the_venues_of_the_service_get_credentials_and_no_output_shows_them() -> None:
    half = {"FANOUT_TWO_ID": "ali"}
    whole = {**half, "FANOUT_TWO_SECRET": "sesame"}
    assert at_once("config", **half).returncode == 0, "the venue is not in use"
    done = at_once("--venue", "two", "config", **half)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "FANOUT_TWO_ID is set without FANOUT_TWO_SECRET" in done.stderr
    shown = at_once("--venue", "two", "config", **whole).stdout
    assert "# FANOUT_TWO_SECRET is set in the environment, and not shown" in shown
    assert '"FANOUT_TWO_SECRET":true' in at_once("config", "--json", **whole).stdout
    source = SourceConfig(assets=("A",), credentials=Credentials(id="ali", secret="sesame"))
    for text in (shown, repr(source), repr(source.credentials), str(source)):
        assert not {"ali", "sesame"} & set(text.replace('"', " ").split())


def test_a_venue_that_rejects_the_credentials_ends_a_command_with_77(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Exit) as caught, exit_codes():
        raise VenueKeyError("deribit rejects the credentials")
    assert caught.value.exit_code == 77
    assert capsys.readouterr().err == "fanout: deribit rejects the credentials\n"
