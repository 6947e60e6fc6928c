"""Reads the members of a query on the paths of stored responses and conversations. Raises BadRequest."""

from collections.abc import Mapping

from aiohttp import web
from attrs import frozen

from gateway.errors import BadRequest
from gateway.wire.openai_responses.stored_items import MAX_LISTED, USUALLY_LISTED, Item, page


@frozen
class WantedPage:
    """Which page of a list of items the client wants (SDK types InputItemListParams, ItemListParams)."""

    limit: int
    is_rising: bool
    after: str | None
    before: str | None

    def of(self, items: Mapping[str, Item]) -> bytes:
        """Write the page of these items. Raises BadRequest if a cursor is not the id of one of them."""
        return page(items, self.limit, is_rising=self.is_rising, after=self.after, before=self.before)


def read_page(request: web.Request) -> WantedPage:
    """Return the page that a query wants."""
    limit = number_in(request, "limit", USUALLY_LISTED)
    if not 1 <= limit <= MAX_LISTED:
        raise BadRequest(f"'limit' must be from 1 to {MAX_LISTED}, not {limit}", param="limit", code="invalid_value")
    order = request.query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise BadRequest("'order' must be asc or desc", param="order", code="invalid_value")
    return WantedPage(limit, order == "asc", request.query.get("after"), request.query.get("before"))


def flag_in(request: web.Request, name: str) -> bool:
    """Return a flag of the query, False when absent."""
    text = request.query.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise BadRequest(f"'{name}' must be true or false", param=name, code="invalid_value")
    return text in ("true", "1")


def number_in(request: web.Request, name: str, default: int) -> int:
    """Return a whole number of the query, or the default."""
    text = request.query.get(name)
    if text is None:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 15:
        raise BadRequest(f"'{name}' must be a whole number", param=name, code="invalid_value")
    return int(text)
