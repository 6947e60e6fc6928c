"""The sums of what was used, in Redis: a hash for each day, `gateway:u:DAY`, whose fields are rows' names and a number.

Its rows have no sessions; `gateway:us:DAY` has the same with their sessions, and is kept for a shorter time. Beside
them are `gateway:u:DAY:KIND`, the sessions and models that the day has seen.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from gateway.store.redis_client import PREFIX, RedisClient
from gateway.store.sums import KEPT_DAYS, MAX_A_DAY, NAMES, NUMBERS, OTHER, SESSIONS_KEPT_DAYS, Query, Row, grouped

# ARGV: the batch, the number of rows; for each its names, then its numbers.
_ADD = f"""
if not redis.call('SET', '{PREFIX}b:' .. ARGV[1], '1', 'NX', 'PX', 600000) then return 0 end
local at = 2
for _ = 1, tonumber(ARGV[2]) do
    local names = {{}}
    for i = 1, {len(NAMES)} do names[i] = ARGV[at + i] end
    at = at + {len(NAMES)}
    local key = '{PREFIX}u:' .. names[1]
    local function bounded(place, kind, most)
        local seen = key .. ':' .. kind
        if names[place] == '' or redis.call('SISMEMBER', seen, names[place]) == 1 then return end
        if redis.call('SCARD', seen) >= most then names[place] = '{OTHER}'; return end
        redis.call('SADD', seen, names[place])
        redis.call('EXPIRE', seen, 172800)
    end
    {" ".join(f"bounded({NAMES.index(kind) + 1}, '{kind}', {most})" for kind, most in MAX_A_DAY.items())}
    local function add(into, days)
        local row = cjson.encode(names)
        for i = 1, {len(NUMBERS)} do
            local number = ARGV[at + i]
            if number ~= '0' then redis.call('HINCRBY', into, row .. i, number) end
        end
        redis.call('EXPIRE', into, days * 86400)
    end
    add('{PREFIX}us:' .. names[1], {SESSIONS_KEPT_DAYS})
    names[{len(NAMES)}] = ''
    add(key, {KEPT_DAYS})
    at = at + {len(NUMBERS)}
end
return 1
"""
SUMS_SCRIPTS = {"add_sums": _ADD}
_NAMES = msgspec.json.Decoder(tuple[str, ...])


async def add_rows(client: RedisClient, batch: str, rows: Sequence[Row]) -> None:
    """Add to rows; all of them or none. Raises StoreDown."""
    given: list[Any] = [batch, len(rows)]
    for names, numbers in rows:
        given += (*names, *numbers)
    await client.run("add_sums", given)


async def read_rows(client: RedisClient, query: Query) -> list[Row]:
    """Return the sums by the names that are asked for. Raises StoreDown."""
    today = datetime.now(UTC).date()
    first = max(date.fromisoformat(query.since), today - timedelta(KEPT_DAYS))
    last = min(date.fromisoformat(query.until), today + timedelta(1))  # a gateway's clock may be ahead
    rows: dict[tuple[str, ...], list[int]] = {}
    needs_sessions = "session" in query.by or any(name == "session" for name, _ in query.where)
    while first <= last:
        day = first.isoformat()
        found = await client.call("hgetall", f"{PREFIX}us:{day}") if needs_sessions else {}
        for field, number in (found or await client.call("hgetall", f"{PREFIX}u:{day}")).items():
            names, _, place = field.rpartition(b"]")
            row = rows.setdefault(_NAMES.decode(names + b"]"), [0] * len(NUMBERS))
            row[int(place) - 1] = int(number)
        first += timedelta(1)
    return grouped(((names, tuple(numbers)) for names, numbers in rows.items()), query)
