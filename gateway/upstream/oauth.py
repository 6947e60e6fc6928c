"""A bearer token that lives in a credentials file: refreshed before it ends, and once more after a 401.

One refresh at a time, whoever waits for it; the file is replaced atomically with mode 0600, and all members
that are none of ours are kept (PRODUCT.md section 6).
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field, frozen

from gateway.clock import Clock
from gateway.config.schema import OAuth
from gateway.errors import Fault, UpstreamFault
from gateway.store.private_file import replace_private

# As OAuth's RFC 6749 writes them, and as Anthropic's command line tool does (times in milliseconds there).
_ACCESS, _REFRESH, _EXPIRES = ("access_token", "accessToken"), ("refresh_token", "refreshToken"), "expires_at"
_EXPIRES_MS = "expiresAt"
_FALLBACK_LIFE, _MAX_LIFE = 3600.0, 1e9
# (URL, form) -> the decoded answer; raises UpstreamFault.
PostForm = Callable[[str, dict[str, str]], Awaitable[dict[str, Any]]]


@frozen
class _Token:
    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires: float | None  # Unix seconds


@define
class TokenFile:
    """One credentials file."""

    config: OAuth
    clock: Clock
    post_form: PostForm
    warn: Callable[[str], object]
    _token: _Token | None = field(default=None, init=False, repr=False)
    _refreshing: asyncio.Task[_Token] | None = field(default=None, init=False)

    async def token(self) -> str:
        """The token to send. Raises UpstreamFault when the file says none, or it cannot be refreshed."""
        token = self._token or self._read()
        if self._is_due(token):
            token = self._read()  # another process may have refreshed it
        if self._is_due(token):
            token = await self._refreshed(token)
        self._token = token
        return token.access

    def _is_due(self, token: _Token) -> bool:
        return token.expires is not None and token.expires - self.clock.time() < self.config.refresh_before

    async def renew(self, stale: str) -> bool:
        """After a 401: get another token than `stale`. Return whether there is one."""
        token = self._read()  # another process may have refreshed it
        if token.access == stale:
            if token.refresh is None:
                return False
            token = await self._refreshed(token)
        self._token = token
        return token.access != stale

    async def _refreshed(self, token: _Token) -> _Token:
        """One refresh for all who wait; one that leaves does not stop it."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(token))
            self._refreshing.add_done_callback(self._done)
        return await asyncio.shield(self._refreshing)

    def _done(self, task: asyncio.Task[_Token]) -> None:
        self._refreshing = None
        if task.cancelled() or task.exception() is not None:  # told to those who waited
            self._token = None  # look into the file again next time

    async def _refresh(self, token: _Token) -> _Token:
        if token.refresh is None:
            raise self._fault("the token has ended, and there is no refresh token")
        form = {"grant_type": "refresh_token", "refresh_token": token.refresh, "client_id": self.config.client_id}
        payload = await self.post_form(self.config.token_url, form)
        access = payload.get("access_token")
        if not isinstance(access, str) or not access:
            raise self._fault("the token endpoint's answer has no access_token")
        life = payload.get("expires_in")
        is_sane = isinstance(life, int | float) and 0 < life < _MAX_LIFE
        expires = self.clock.time() + (float(life) if is_sane and life is not None else _FALLBACK_LIFE)
        refresh = payload.get("refresh_token")
        fresh = _Token(access, refresh if isinstance(refresh, str) and refresh else token.refresh, expires)
        self._token = fresh
        try:
            await asyncio.to_thread(self._write, fresh)
        except UpstreamFault as fault:  # the old refresh token is spent: this one must not be lost
            self.warn(fault.message)
        return fresh

    def _read(self) -> _Token:
        _, members = self._members()
        access = next((members[name] for name in _ACCESS if isinstance(members.get(name), str)), "")
        if not access:
            raise self._fault("the credentials file has no access token")
        refresh = next((members[name] for name in _REFRESH if isinstance(members.get(name), str)), None)
        expires = members.get(_EXPIRES)
        if isinstance(milliseconds := members.get(_EXPIRES_MS), int | float):
            expires = milliseconds / 1000
        return _Token(access, refresh, float(expires) if isinstance(expires, int | float) else None)

    def _members(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The whole file, and the object in it (itself, or one level down) that holds the token."""
        try:
            whole = msgspec.json.decode(Path(self.config.credentials_file).read_bytes(), type=dict[str, Any])
        except OSError as error:
            raise self._fault(f"the credentials file cannot be read: {error.strerror}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._fault("the credentials file is not a JSON object") from None
        inner = (one for one in whole.values() if isinstance(one, dict) and any(name in one for name in _ACCESS))
        return whole, whole if any(name in whole for name in _ACCESS) else next(inner, {})

    def _write(self, token: _Token) -> None:
        path = Path(self.config.credentials_file)
        whole, members = self._members()
        members[_ACCESS[1] if _ACCESS[1] in members else _ACCESS[0]] = token.access
        members[_REFRESH[1] if _REFRESH[1] in members else _REFRESH[0]] = token.refresh
        if _EXPIRES_MS in members:
            members[_EXPIRES_MS] = round((token.expires or 0) * 1000)
        else:
            members[_EXPIRES] = round(token.expires or 0)
        try:
            replace_private(path, msgspec.json.format(msgspec.json.encode(whole), indent=2))
        except OSError as error:
            raise self._fault(f"the credentials file cannot be written: {error.strerror}") from None

    def _fault(self, reason: str) -> UpstreamFault:
        return UpstreamFault(f"The gateway's token cannot be used: {reason}", Fault.CREDENTIALS)
