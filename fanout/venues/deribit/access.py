"""Access to raw channels: the credentials, the token that they buy, and its renewal. Pure.

    -> public/auth {"grant_type":"client_credentials","client_id":"...","client_secret":"..."}
    <- {"access_token":"...","expires_in":900,"refresh_token":"...",...}
    -> public/auth {"grant_type":"refresh_token","refresh_token":"..."}

Access belongs to the connection that asked for it, so the access token itself is never used.
https://docs.deribit.com/api-reference/authentication/public-auth

The secret and the tokens appear in the requests alone. `hide` takes them out of other text.
"""

from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.venues.base import NEVER_S
from fanout.venues.deribit.messages import request
from fanout.venues.numbers import BROKEN
from fanout.venues.values import Credentials

RENEWAL: Final = 0.8
"""The part of a token's life after which a new one is asked for."""

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
"""Pauses between requests, which double while they are refused."""

PATIENCE_S: Final = 30.0
"""How long to wait for an answer before the request is sent again."""

_LONGEST_LIFE_S: Final = 10**10


class _Token(msgspec.Struct):
    expires_in: Annotated[int, msgspec.Meta(ge=0, le=_LONGEST_LIFE_S)]
    refresh_token: str = ""


_decode_token = msgspec.json.Decoder(_Token).decode


class Access:
    """The access of one connection. Times are in seconds since it opened."""

    def __init__(self, credentials: Credentials, number: int) -> None:
        """`number` is the id of all its requests: only one is open at a time."""
        self.is_granted = False
        """Whether the venue accepted the last request that it answered."""
        self.is_settled = False
        """Whether it answered any."""
        self.due_s = NEVER_S
        """When to ask next."""
        self.pause_s = FIRST_PAUSE_S
        """From a refused request to the next."""
        self._credentials = credentials
        self._number = number
        self._refresh_token = ""
        self._asked_s = 0.0

    def ask(self, now_s: float) -> str:
        """The request, with the refresh token if there is one."""
        self._asked_s = now_s
        self.due_s = now_s + PATIENCE_S
        params = {
            "grant_type": "client_credentials",
            "client_id": self._credentials.id,
            "client_secret": self._credentials.secret,
        }
        if self._refresh_token:
            params = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        return request(self._number, "public/auth", params)

    def grant(self, result: msgspec.Raw) -> None:
        """Take the answer. Its life is counted from the request, which was before it began. Raises
        `VenueMessageError`, which quotes nothing of it."""
        try:
            token = _decode_token(result)
        except BROKEN as error:
            raise VenueMessageError("token of the wrong shape", self.hide(str(error))) from None
        self.is_granted = self.is_settled = True
        self.pause_s = FIRST_PAUSE_S
        self._refresh_token = token.refresh_token
        self.due_s = self._asked_s + max(RENEWAL * token.expires_in, FIRST_PAUSE_S)

    def refuse(self) -> float:
        """Take a refusal. The next request has the credentials again, since the refresh token may
        have been revoked. Returns the pause before it."""
        self.is_granted, self.is_settled = False, True
        self._refresh_token = ""
        return self.postpone()

    def postpone(self) -> float:
        """Ask again after a pause, which is returned."""
        pause_s = self.pause_s
        self.pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self.due_s = self._asked_s + pause_s
        return pause_s

    def give_up(self) -> None:
        """Ask no more on this connection."""
        self.is_granted, self.is_settled = False, True
        self.due_s = NEVER_S

    def hide(self, text: str) -> str:
        """Text of the venue, without the secrets that it may repeat."""
        for secret in (self._credentials.secret, self._credentials.id, self._refresh_token):
            if secret:
                # Also as it stands in a request, which the text may quote.
                escaped = msgspec.json.encode(secret)[1:-1].decode()
                text = text.replace(escaped, "***").replace(secret, "***")
        return text
