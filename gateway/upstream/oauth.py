"""Keeps the bearer token of a credentials file valid: refreshes it before it expires, and after a 401.

All requests share one refresh at a time. The new token is written back: the file is replaced atomically with mode
0600, and members that the gateway does not know are kept (docs/endpoints.md#modes). Another process may use and
refresh the same file, so the file is read again before each refresh.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field, frozen

from gateway.clock import Clock
from gateway.config.problems import Problem, problem_at
from gateway.config.provider_schema import OAuth
from gateway.config.schema import Config
from gateway.errors import UpstreamFault
from gateway.faults import Fault
from gateway.store.private_file import replace_private

# Members of the file, as RFC 6749 names the tokens, and as Anthropic's command line tool does. `expires_at` is in Unix
# seconds, `expiresAt` in milliseconds.
_ACCESS, _REFRESH, _EXPIRES = ("access_token", "accessToken"), ("refresh_token", "refreshToken"), "expires_at"
_EXPIRES_MS = "expiresAt"
# Seconds: the life of a token whose `expires_in` is missing, or not in (0, _MAX_LIFE).
_FALLBACK_LIFE, _MAX_LIFE = 3600.0, 1e9
_UNUSABLE = "The gateway's token cannot be used"
# (URL, form) -> the JSON object of the token endpoint's reply; raises UpstreamFault.
PostForm = Callable[[str, dict[str, str]], Awaitable[dict[str, Any]]]


@frozen
class _Token:
    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires: float | None  # Unix seconds


def _problem(config: OAuth, clock: Clock) -> str:
    """Say why the credentials file has no token to send; empty if it has one."""
    try:
        token = _read(config)
    except UpstreamFault as fault:
        return fault.message
    has_ended = token.expires is not None and token.expires <= clock.time() and token.refresh is None
    return _fault("the token has ended, and there is no refresh token").message if has_ended else ""


@define
class TokenFile:
    """One credentials file. `warn` logs a message."""

    config: OAuth
    clock: Clock
    post_form: PostForm
    warn: Callable[[str], object]
    _token: _Token | None = field(default=None, init=False, repr=False)
    _refreshing: asyncio.Task[_Token] | None = field(default=None, init=False)

    @property
    def problem(self) -> str:
        """Why there is no token to send, empty if there is one: a provider without one is disabled until it is back."""
        if self._token is not None and not self._is_due(self._token):
            return ""
        return _problem(self.config, self.clock)

    async def token(self) -> str:
        """Return the token to send. Raises UpstreamFault if the file has no token, or a refresh fails."""
        token = self._token or _read(self.config)
        if self._is_due(token):
            token = _read(self.config)  # another process may have refreshed it
        if self._is_due(token):
            token = await self._refreshed(token)
        self._token = token
        return token.access

    def _is_due(self, token: _Token) -> bool:
        return token.expires is not None and token.expires - self.clock.time() < self.config.refresh_before

    async def renew(self, stale: str) -> bool:
        """Get a new token after a 401. `stale` is the refused one. Return whether the token is now another one."""
        token = _read(self.config)  # another process may have refreshed it
        if token.access == stale:
            if token.refresh is None:
                return False
            token = await self._refreshed(token)
        self._token = token
        return token.access != stale

    async def _refreshed(self, token: _Token) -> _Token:
        """Return the token of the refresh that runs, or start one. A caller that is cancelled does not stop it."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(token))
            self._refreshing.add_done_callback(self._done)
        return await asyncio.shield(self._refreshing)

    def _done(self, task: asyncio.Task[_Token]) -> None:
        self._refreshing = None
        if task.cancelled() or task.exception() is not None:  # the callers that wait raise it
            self._token = None  # read the file again next time

    async def _refresh(self, token: _Token) -> _Token:
        if token.refresh is None:
            raise _fault("the token has ended, and there is no refresh token")
        form = {"grant_type": "refresh_token", "refresh_token": token.refresh, "client_id": self.config.client_id}
        payload = await self.post_form(self.config.token_url, form)
        access = payload.get("access_token")
        if not isinstance(access, str) or not access:
            raise _fault("the token endpoint's answer has no access_token")
        life = payload.get("expires_in")
        is_sane = isinstance(life, int | float) and 0 < life < _MAX_LIFE
        expires = self.clock.time() + (float(life) if is_sane and life is not None else _FALLBACK_LIFE)
        refresh = payload.get("refresh_token")
        fresh = _Token(access, refresh if isinstance(refresh, str) and refresh else token.refresh, expires)
        self._token = fresh
        try:
            await asyncio.to_thread(_write, self.config, fresh)
        except UpstreamFault as fault:  # go on with it: the provider takes the old one no more
            self.warn(fault.message)
        return fresh


def _read(config: OAuth) -> _Token:
    _, members = _members(config)
    access = next((members[name] for name in _ACCESS if isinstance(members.get(name), str)), "")
    if not access:
        raise _fault("the credentials file has no access token")
    if not (access.isascii() and access.isprintable()) or " " in access:
        raise _fault("the access token has characters that no header can carry")
    refresh = next((members[name] for name in _REFRESH if isinstance(members.get(name), str)), None) or None
    expires = members.get(_EXPIRES)
    if isinstance(milliseconds := members.get(_EXPIRES_MS), int | float):
        expires = milliseconds / 1000
    return _Token(access, refresh, float(expires) if isinstance(expires, int | float) else None)


def _members(config: OAuth) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the whole file, and the object that holds the token: the file's top object, or one inside it."""
    try:
        whole = msgspec.json.decode(Path(config.credentials_file).read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise _fault(f"the credentials file cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _fault("the credentials file is not a JSON object") from None
    inner = (one for one in whole.values() if isinstance(one, dict) and any(name in one for name in _ACCESS))
    return whole, whole if any(name in whole for name in _ACCESS) else next(inner, {})


def _write(config: OAuth, token: _Token) -> None:
    path = Path(config.credentials_file)
    whole, members = _members(config)
    members[_ACCESS[1] if _ACCESS[1] in members else _ACCESS[0]] = token.access
    members[_REFRESH[1] if _REFRESH[1] in members else _REFRESH[0]] = token.refresh
    if _EXPIRES_MS in members:
        members[_EXPIRES_MS] = round((token.expires or 0) * 1000)
    else:
        members[_EXPIRES] = round(token.expires or 0)
    try:
        replace_private(path, msgspec.json.format(msgspec.json.encode(whole), indent=2))
    except OSError as error:
        raise _fault(f"the credentials file cannot be written: {error.strerror}") from None


def _fault(reason: str) -> UpstreamFault:
    return UpstreamFault(f"{_UNUSABLE}: {reason}", Fault.CREDENTIALS)


def token_warnings(config: Config, clock: Clock) -> Iterator[Problem]:
    """Yield every provider that is disabled because its credentials file is missing or has no good token."""
    for name, provider in config.providers.items():
        if provider.auth.oauth is not None:
            problem = _problem(provider.auth.oauth, clock)
            if problem:
                message = f"disabled. {problem} ({provider.auth.oauth.credentials_file})"
                yield problem_at(config.places, ("providers", name), message)
