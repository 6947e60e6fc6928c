"""The store that several gateways share: Redis or Valkey. Each operation is one Lua script, hence atomic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from attrs import define

from gateway.store.protocol import MAX_LINKS, ChainTooLong, Conversation, Link, StoredResponse
from gateway.store.redis_client import PREFIX, RedisClient
from gateway.store.redis_sums import SUMS_SCRIPTS, add_rows, read_rows
from gateway.store.sums import Query, Row

# Notes are strings under n:NAME. Responses have four kinds of keys, each under the owner's prefix and each with a time
# to live:
#   r:ID    a hash, one response. Its fields: `data` (msgpack, all members but the two byte arrays), `input` and
#           `output` (apart, so that HSTRLEN measures a chain without loading it), `previous` and `status` (copies
#           that the scripts can read), `items` (the i: keys of its items, to extend them too), and `hidden`, once it
#           has been deleted while a later response still needs it
#   c:ID    a set, the ids of the responses that continue this one
#   i:ITEM  a string, the id of the response that holds this item
#   v:ID    a hash, one conversation: `data` (msgpack, all members) and `version` (a copy that the script can read)
#
# KEYS: a response; ARGV: data, input, output, previous, status, milliseconds to live, only_running, owner's prefix,
# id, items …
_PUT = """
local prefix, id = ARGV[8], ARGV[9]
if ARGV[7] == '1' then
    if redis.call('HGET', KEYS[1], 'data') == ARGV[1] then return 1 end  -- asked again: the answer was lost
    local status = redis.call('HGET', KEYS[1], 'status')
    if not (status == 'queued' or status == 'in_progress') or redis.call('HEXISTS', KEYS[1], 'hidden') == 1 then
        return 0
    end
elseif ARGV[4] ~= '' then
    if redis.call('EXISTS', prefix .. 'r:' .. ARGV[4]) == 0 then return 0 end
    redis.call('SADD', prefix .. 'c:' .. ARGV[4], id)
    if redis.call('PTTL', prefix .. 'c:' .. ARGV[4]) < tonumber(ARGV[6]) then
        redis.call('PEXPIRE', prefix .. 'c:' .. ARGV[4], ARGV[6])
    end
end
if ARGV[7] ~= '1' then redis.call('HSET', KEYS[1], 'input', ARGV[2], 'previous', ARGV[4]) end
local items = {}
for at = 10, #ARGV do
    items[#items + 1] = prefix .. 'i:' .. ARGV[at]
    redis.call('SET', items[#items], id, 'PX', ARGV[6])
end
redis.call('HSET', KEYS[1], 'data', ARGV[1], 'output', ARGV[3], 'status', ARGV[5], 'items', table.concat(items, '\\n'))
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
"""
_SHOWN = """
local function shown(key)
    if redis.call('HEXISTS', key, 'hidden') == 1 then return false end
    local found = redis.call('HMGET', key, 'data', 'input', 'output')
    return found[1] and found
end
"""
_GET = f"{_SHOWN} return shown(KEYS[1])"
# ARGV: owner's prefix, id, milliseconds to live from now on, most responses, most bytes
_CHAIN = """
local function extend(key)
    if redis.call('PTTL', key) < tonumber(ARGV[3]) then redis.pcall('PEXPIRE', key, ARGV[3]) end
end
local keys, name, size = {}, ARGV[2], 0
if redis.call('HEXISTS', ARGV[1] .. 'r:' .. name, 'hidden') == 1 then return {} end
while name ~= '' do
    local key = ARGV[1] .. 'r:' .. name
    if redis.call('EXISTS', key) == 0 then return {} end
    size = size + redis.call('HSTRLEN', key, 'input') + redis.call('HSTRLEN', key, 'output')
    keys[#keys + 1] = key
    if #keys > tonumber(ARGV[4]) or size > tonumber(ARGV[5]) then return -1 end
    name = redis.call('HGET', key, 'previous')
end
local found = {}
for at, key in ipairs(keys) do
    found[at] = redis.call('HMGET', key, 'data', 'input', 'output')
    extend(key)
    extend((key:gsub('r:([^:]*)$', 'c:%1')))
    for item in string.gmatch(redis.call('HGET', key, 'items') or '', '[^\\n]+') do extend(item) end
end
return found
"""
_HOLDER = f"""{_SHOWN}
local name = redis.call('GET', ARGV[1] .. 'i:' .. ARGV[2])
return name and shown(ARGV[1] .. 'r:' .. name)
"""
_DELETE = """
local function children(name)
    for _, child in ipairs(redis.call('SMEMBERS', ARGV[1] .. 'c:' .. name)) do
        if redis.call('EXISTS', ARGV[1] .. 'r:' .. child) == 1 then return true end
    end
    return false
end
local name = ARGV[2]
local key = ARGV[1] .. 'r:' .. name
if redis.call('EXISTS', key) == 0 or redis.call('HEXISTS', key, 'hidden') == 1 then return 0 end
if children(name) then
    redis.call('HSET', key, 'hidden', '1')
    return 1
end
while true do
    local previous = redis.call('HGET', key, 'previous')
    redis.call('DEL', key, ARGV[1] .. 'c:' .. name)
    if not previous or previous == '' then return 1 end
    redis.call('SREM', ARGV[1] .. 'c:' .. previous, name)
    name, key = previous, ARGV[1] .. 'r:' .. previous
    if redis.call('HEXISTS', key, 'hidden') == 0 or children(name) then return 1 end
end
"""
# KEYS: a conversation; ARGV: data, version, milliseconds to live
_NAME = """
if redis.call('HGET', KEYS[1], 'data') == ARGV[1] then return 1 end  -- asked again: the answer was lost
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if tonumber(version) ~= tonumber(ARGV[2]) - 1 then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[1], 'version', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_SCRIPTS = {"name": _NAME, "put": _PUT, "get": _GET, "chain": _CHAIN, "holder": _HOLDER, "delete": _DELETE}
_DECODER = msgspec.msgpack.Decoder(list[Any])


@define
class RedisResponses:
    """Responses in a shared server. A lost connection is opened again by the next request."""

    _client: RedisClient

    @classmethod
    async def open(cls, url: str, file: Path | None) -> "RedisResponses":
        """Make the client without connecting. Raises StoreUnusable if `url` has an option that is not valid."""
        return cls(RedisClient.open(url, {**_SCRIPTS, **SUMS_SCRIPTS}))

    async def put(self, stored: StoredResponse, *, only_running: bool = False) -> bool:
        prefix = _owner(stored.owner)
        milliseconds = int(max(1.0, stored.expires - stored.created) * 1000)
        given = (
            _data(stored), stored.input, stored.output, stored.previous or "", stored.status, milliseconds,
            int(only_running), prefix, stored.id, *stored.items,
        )  # fmt: skip
        return bool(await self._client.run("put", given, [f"{prefix}r:{stored.id}"]))

    async def get(self, owner: str, name: str, now: float) -> StoredResponse | None:
        found = await self._client.run("get", (), [f"{_owner(owner)}r:{name}"])
        return None if found is None else _stored(*found)

    async def chain(self, owner: str, name: str, now: float, expires: float, most: int) -> list[Link]:
        given = (_owner(owner), name, int(max(0.0, expires - now) * 1000), MAX_LINKS, most)
        found = await self._client.run("chain", given)
        if found == -1:
            raise ChainTooLong
        return [_stored(*one).link for one in reversed(found)]

    async def holder(self, owner: str, item: str, now: float) -> Link | None:
        found = await self._client.run("holder", (_owner(owner), item))
        return None if found is None else _stored(*found).link

    async def delete(self, owner: str, name: str, now: float) -> bool:
        return bool(await self._client.run("delete", (_owner(owner), name)))

    async def put_conversation(self, conversation: Conversation, now: float) -> bool:
        one = conversation
        key, milliseconds = f"{_owner(one.owner)}v:{one.id}", int(max(1.0, one.expires - now) * 1000)
        kept = [one.owner, one.id, one.created, one.expires, one.metadata, one.head, list(one.gone), one.version]
        return bool(await self._client.run("name", (msgspec.msgpack.encode(kept), one.version, milliseconds), [key]))

    async def get_conversation(self, owner: str, name: str, now: float) -> Conversation | None:
        found = await self._client.call("hget", name=f"{_owner(owner)}v:{name}", key="data")
        if found is None:
            return None
        owner, name, created, expires, metadata, head, gone, version = _DECODER.decode(found)
        return Conversation(owner, name, created, expires, metadata, head, tuple(gone), version)

    async def delete_conversation(self, owner: str, name: str, now: float) -> bool:
        return bool(await self._client.call("delete", f"{_owner(owner)}v:{name}"))

    async def note(self, name: str, text: str, seconds: float) -> None:
        await self._client.call("set", name=f"{PREFIX}n:{name}", value=text, px=max(1, int(seconds * 1000)))

    async def recall(self, name: str) -> str | None:
        found = await self._client.call("get", name=f"{PREFIX}n:{name}")
        return None if found is None else found.decode("utf-8", "replace")

    async def add_sums(self, batch: str, rows: Sequence[Row]) -> None:
        await add_rows(self._client, batch, rows)

    async def read_sums(self, query: Query) -> list[Row]:
        return await read_rows(self._client, query)

    async def sweep(self, now: float) -> None:
        """Do nothing: the server deletes expired keys itself."""

    async def check(self) -> None:
        await self._client.call("set", name=f"{PREFIX}check", value=b"1", px=1000)  # a full server still reads

    async def close(self) -> None:
        await self._client.close()


def _owner(owner: str) -> str:
    """Return the prefix of an owner's keys. The length in it keeps owners `a` and `a:r` from having equal keys."""
    return f"{PREFIX}{len(owner)}:{owner}:"


def _data(stored: StoredResponse) -> bytes:
    return msgspec.msgpack.encode(
        [
            stored.owner, stored.id, stored.previous, stored.status, stored.created, stored.expires, stored.maker,
            list(stored.items), stored.body, stored.lease, stored.last,
        ]
    )  # fmt: skip


def _stored(data: bytes, given: bytes, output: bytes) -> StoredResponse:
    owner, name, previous, status, created, expires, maker, items, body, lease, last = _DECODER.decode(data)
    rest = (tuple(items), given, output, body, lease, last)
    return StoredResponse(owner, name, previous, status, created, expires, maker, *rest)
