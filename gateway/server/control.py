"""Asks the running gateway through its control socket, for the command line."""

from pathlib import Path
from typing import Any

import aiohttp
import msgspec

TIMEOUT_S = 5.0


class NoGateway(Exception):
    """No gateway answers at the control socket. The message says where it was looked for."""


async def ask(path: Path, page: str, method: str = "GET", **query: str) -> dict[str, Any]:
    """Return the JSON object of an operators' page, also that of an error. Raises NoGateway."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://localhost{page}", params=query) as answer,
        ):
            found: dict[str, Any] = msgspec.json.decode(await answer.read(), type=dict[str, Any])
            return found
    except (OSError, TimeoutError, aiohttp.ClientError, msgspec.MsgspecError):
        raise NoGateway(
            f"no gateway answers at {path}: is it running, with this configuration, as this user?"
        ) from None
