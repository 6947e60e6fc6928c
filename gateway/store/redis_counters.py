"""Windows, slots and funds that several gateways share in Redis. Each operation is one script, hence atomic.

The time is the server's, so that the gateways' clocks need not agree. What a gateway holds stands under its own name,
which it renews for as long as it lives: what a dead one held is nobody's ALIVE_MS later.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from gateway.store.counters import Claim, Counted, Fund, Settlement, Slot, Taken, Window
from gateway.store.protocol import StoreDown
from gateway.store.redis_client import PREFIX, RedisClient

ALIVE_MS = 10_000
AGAIN_S = 1.0
MAX_DOUBTFUL = 1000
MAX_CLAIMS = 100  # in one question
KEPT_S = 86400  # of a fund, beyond its period
# Keys, all below `gateway:`
#   w:NAME          a string: when a window will be full again (the server's Unix seconds)
#   s:NAME          a hash: how many of a slot each gateway holds
#   f:NAME:PERIOD   a hash: `spent`, and what each gateway has reserved of a fund (r:GATEWAY)
#   g:GATEWAY       a string with a time to live; `gs`, a sorted set, has all machines by the end of that time
#   b:BATCH         a string: this batch was settled, and is not settled again if its answer was lost
#   t:BATCH         a string: what this batch of claims was answered; x:BATCH: nobody waits for its answer any more
_COMMON = f"""
local me, at = ARGV[1], 1
local function nextArg() at = at + 1; return ARGV[at] end
local function nextNumber() return tonumber(nextArg()) end
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local living = {{}}
local function lives(one)
    if one == me then return true end
    if living[one] == nil then living[one] = redis.call('EXISTS', '{PREFIX}g:' .. one) == 1 end
    return living[one]
end
local function charge(key, rate, units)
    local full = tonumber(redis.call('GET', key) or '0')
    if full < now then full = now end
    full = full + units / rate
    if full <= now then redis.call('DEL', key)
    else redis.call('SET', key, string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000) + 1000) end
end
"""
# ARGV: me; the batch; the number of claims; for each the number of windows, for each its rate, capacity, units; of
# slots, for each its most; of funds, for each its most, units, seconds to live. KEYS: those of all of them, in order.
_TAKE = (
    _COMMON
    + """
local batch = nextArg()
if redis.call('EXISTS', """
    + f"'{PREFIX}x:'"
    + """ .. batch) == 1 then return {} end  -- it was given up meanwhile
local said = redis.call('GET', """
    + f"'{PREFIX}t:'"
    + """ .. batch)
if said then return cjson.decode(said) end  -- asked again: the answer was lost
local key, answers = 0, {}
for number = 1, nextNumber() do
    local first, out, refused, wait = key, {}, 0, 0
    local windows, slots, funds = {}, {}, {}
    for i = 1, nextNumber() do
        key = key + 1
        local rate, capacity, units = nextNumber(), nextNumber(), nextNumber()
        local full = tonumber(redis.call('GET', KEYS[key]) or '0')
        local left = capacity
        if full > now then left = capacity - (full - now) * rate end
        windows[i] = {KEYS[key], rate, units, left}
        local needs = (units - left) / rate
        -- The server's time has only so many digits.
        if needs > 0.000005 + 0.000001 / rate and needs > wait then refused = key - first; wait = needs end
    end
    for i = 1, nextNumber() do
        key = key + 1
        local most, held = nextNumber(), 0
        local found = redis.call('HGETALL', KEYS[key])
        for at = 1, #found, 2 do
            if lives(found[at]) then held = held + tonumber(found[at + 1])
            else redis.call('HDEL', KEYS[key], found[at]) end
        end
        slots[i] = KEYS[key]
        if held + 1 > most and wait < 1 then refused = key - first; wait = 1 end
    end
    local last = 0
    for i = 1, nextNumber() do
        key = key + 1
        local most, units, seconds, spent, held = nextNumber(), nextNumber(), nextNumber(), 0, 0
        local found = redis.call('HGETALL', KEYS[key])
        for at = 1, #found, 2 do
            if found[at] == 'spent' then spent = tonumber(found[at + 1])
            elseif lives(string.sub(found[at], 3)) then held = held + tonumber(found[at + 1])
            else redis.call('HDEL', KEYS[key], found[at]) end
        end
        funds[i] = {KEYS[key], units, seconds, spent, held}
        if spent + held >= most and seconds > last then refused = key - first; wait = 0; last = seconds end
    end
    local sign = 1
    if refused ~= 0 then sign = 0 end
    if refused == 0 then
        for _, one in ipairs(windows) do charge(one[1], one[2], one[3]) end
        for _, one in ipairs(slots) do
            redis.call('HINCRBY', one, me, 1)
            redis.call('EXPIRE', one, 86400)
        end
        for _, one in ipairs(funds) do
            redis.call('HINCRBYFLOAT', one[1], 'r:' .. me, one[2])
            redis.call('EXPIRE', one[1], one[3])
        end
    end
    out = {tostring(refused), string.format('%.6f', wait), tostring(redis.call('ZCOUNT', '"""
    + PREFIX
    + """gs', now, '+inf'))}
    for _, one in ipairs(windows) do out[#out + 1] = string.format('%.6f', one[4] - sign * one[3]) end
    for _, one in ipairs(funds) do
        out[#out + 1] = string.format('%.3f', one[4])
        out[#out + 1] = string.format('%.3f', one[5] + sign * one[2])
    end
    answers[number] = out
end
redis.call('SET', """
    + f"'{PREFIX}t:'"
    + """ .. batch, cjson.encode(answers), 'PX', 60000)
return answers
"""
)
# ARGV: me; the batch; the number of windows, for each its rate and units; of slots, for each how many; of funds, for
# each what is reserved no more, what was spent, seconds to live. KEYS as above.
_SETTLE = (
    _COMMON
    + f"""
if not redis.call('SET', '{PREFIX}b:' .. nextArg(), '1', 'NX', 'PX', 600000) then return 0 end
"""
    + """
local key = 0
for _ = 1, nextNumber() do
    key = key + 1
    charge(KEYS[key], nextNumber(), nextNumber())
end
for _ = 1, nextNumber() do
    key = key + 1
    if redis.call('HINCRBY', KEYS[key], me, -nextNumber()) <= 0 then redis.call('HDEL', KEYS[key], me) end
end
for _ = 1, nextNumber() do
    key = key + 1
    local reserved, spent, seconds = nextNumber(), nextNumber(), nextNumber()
    if reserved ~= 0 and tonumber(redis.call('HINCRBYFLOAT', KEYS[key], 'r:' .. me, -reserved)) <= 0.001 then
        redis.call('HDEL', KEYS[key], 'r:' .. me)
    end
    if spent ~= 0 then redis.call('HINCRBYFLOAT', KEYS[key], 'spent', spent) end
    redis.call('EXPIRE', KEYS[key], seconds)
end
return 1
"""
)
# ARGV: me; the batch; then as for taking. Gives back what a batch of claims has taken whose answer never came.
_GIVE_UP = (
    _COMMON
    + """
local batch = nextArg()
local said = redis.call('GET', """
    + f"'{PREFIX}t:'"
    + """ .. batch)
redis.call('SET', """
    + f"'{PREFIX}x:'"
    + """ .. batch, '1', 'PX', 600000)
if not said then return 0 end  -- it has taken nothing, and will not
redis.call('DEL', """
    + f"'{PREFIX}t:'"
    + """ .. batch)
local answers, key = cjson.decode(said), 0
for number = 1, nextNumber() do
    local granted = answers[number][1] == '0'
    for _ = 1, nextNumber() do
        key = key + 1
        local rate, _, units = nextNumber(), nextNumber(), nextNumber()
        if granted then charge(KEYS[key], rate, -units) end
    end
    for _ = 1, nextNumber() do
        key = key + 1
        nextNumber()
        if granted and redis.call('HINCRBY', KEYS[key], me, -1) <= 0 then redis.call('HDEL', KEYS[key], me) end
    end
    for _ = 1, nextNumber() do
        key = key + 1
        nextNumber()
        local units = nextNumber()
        nextNumber()
        if granted then redis.call('HINCRBYFLOAT', KEYS[key], 'r:' .. me, -units) end
    end
end
return 1
"""
)
_RENEW = (
    _COMMON
    + f"""
redis.call('SET', '{PREFIX}g:' .. me, '1', 'PX', {ALIVE_MS})
redis.call('ZREMRANGEBYSCORE', '{PREFIX}gs', '-inf', now)
redis.call('ZADD', '{PREFIX}gs', now + {ALIVE_MS} / 1000, nextArg())
redis.call('EXPIRE', '{PREFIX}gs', 86400)
return 1
"""
)
_SPENT = (
    _COMMON
    + """
local out = {}
for _, key in ipairs(KEYS) do
    local spent, held = 0, 0
    local found = redis.call('HGETALL', key)
    for at = 1, #found, 2 do
        if found[at] == 'spent' then spent = tonumber(found[at + 1])
        elseif lives(string.sub(found[at], 3)) then held = held + tonumber(found[at + 1]) end
    end
    out[#out + 1] = string.format('%.3f', spent)
    out[#out + 1] = string.format('%.3f', held)
end
return out
"""
)
_SCRIPTS = {"take": _TAKE, "give_up": _GIVE_UP, "settle": _SETTLE, "renew": _RENEW, "spent": _SPENT}


@define
class RedisCounters:
    """One gateway's part of the counters in Redis. Every method raises StoreDown."""

    _client: RedisClient
    name: str
    machine: str  # the same for all workers of a machine
    gateways: int = field(default=1, init=False)  # machines that share the server, as its last answer said
    heard: float = field(default=float("-inf"), init=False)  # loop time of its last answer
    _waiting: list[tuple[Claim, float, asyncio.Future[Taken]]] = field(factory=list, init=False)
    _asking: asyncio.Task[None] | None = field(default=None, init=False)
    _doubtful: list[tuple[list[Any], list[str]]] = field(factory=list, init=False)  # questions without an answer
    _clearing: asyncio.Task[None] | None = field(default=None, init=False)

    @classmethod
    def open(cls, url: str, machine: str = "") -> "RedisCounters":
        """Make the client without connecting; `machine` names the gateway that this is a worker of. StoreUnusable."""
        name = secrets.token_hex(8)
        return cls(RedisClient.open(url, _SCRIPTS), name, machine or name)

    async def take(self, claim: Claim, now: float) -> Taken:
        """Take a claim whole, or nothing of it. `now` is in Unix seconds: funds are kept until their period is over.

        Claims that come while another question is on its way are asked together, in the next one.
        """
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, now, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_CLAIMS], self._waiting[MAX_CLAIMS:]
                try:
                    found = await self._take_all([(claim, now) for claim, now, _ in batch])
                except StoreDown as error:
                    for _, _, answer in batch:
                        if not answer.done():
                            answer.set_exception(type(error)(*error.args))
                    continue
                for (_, _, answer), taken in zip(batch, found, strict=True):
                    if not answer.done():
                        answer.set_result(taken)
        finally:
            self._asking = None

    async def _take_all(self, claims: Sequence[tuple[Claim, float]]) -> list[Taken]:
        batch = secrets.token_hex(8)
        given: list[Any] = [self.name, batch, len(claims)]
        keys: list[str] = []
        for claim, now in claims:
            given.append(len(claim.windows))
            for window, units in claim.windows:
                given += (repr(window.per_second), window.capacity, units)
            given.append(len(claim.slots))
            given += (slot.most for slot in claim.slots)
            given.append(len(claim.funds))
            for fund, units in claim.funds:
                given += (fund.most, units, _seconds(fund, now))
            keys += map(_key, _counted(claim))
        try:
            answers = await self._client.run("take", given, keys)
        except StoreDown:
            self._give_up(given, keys)
            raise
        self.heard = asyncio.get_running_loop().time()
        self.gateways = max(1, int(float(answers[0][2])))
        return [_taken(claim, answer) for (claim, _), answer in zip(claims, answers, strict=True)]

    def _give_up(self, given: list[Any], keys: list[str]) -> None:
        """Give back what a question may have taken that was not answered, as soon as the server can be asked."""
        if len(self._doubtful) < MAX_DOUBTFUL:
            self._doubtful.append((given, keys))
        if self._clearing is None:
            self._clearing = asyncio.create_task(self._clear())

    async def _clear(self) -> None:
        try:
            while self._doubtful:
                given, keys = self._doubtful[0]
                try:
                    await self._client.run("give_up", given, keys)
                except StoreDown:
                    await asyncio.sleep(AGAIN_S)
                else:
                    self._doubtful.pop(0)
        finally:
            self._clearing = None

    async def settle(self, batch: str, settlements: Sequence[Settlement], now: float) -> None:
        """Settle many exchanges at once; a batch that was settled already is not settled again."""
        windows = [one for settlement in settlements for one in settlement.windows]
        funds = [one for settlement in settlements for one in settlement.funds]
        slots: dict[str, int] = {}
        for settlement in settlements:
            for slot in settlement.slots:
                slots[_key(slot)] = slots.get(_key(slot), 0) + 1
        given: list[Any] = [self.name, batch, len(windows)]
        for window, units in windows:
            given += (repr(window.per_second), units)
        given += (len(slots), *slots.values(), len(funds))
        for fund, reserved, spent in funds:
            given += (reserved, spent, _seconds(fund, now))
        keys = [*(_key(window) for window, _ in windows), *slots, *(_key(fund) for fund, _, _ in funds)]
        await self._client.run("settle", given, keys)
        self.heard = asyncio.get_running_loop().time()

    async def renew(self) -> None:
        """Say that this gateway lives."""
        await self._client.run("renew", (self.name, self.machine))

    async def spent(self, funds: Sequence[Fund]) -> list[tuple[float, float]]:
        """Return what each fund has spent in its period, and what is reserved of it."""
        found = list(map(float, await self._client.run("spent", (self.name,), list(map(_key, funds)))))
        return list(zip(found[::2], found[1::2], strict=True))

    async def close(self) -> None:
        """Let go of all that this gateway holds, and close the connections."""
        tasks = [task for task in (self._asking, self._clearing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._client.call("delete", f"{PREFIX}g:{self.name}")
            if self.machine == self.name:  # else its other workers live on
                await self._client.call("zrem", f"{PREFIX}gs", self.name)
        finally:
            await self._client.close()


def _key(counted: Counted) -> str:
    match counted:
        case Window():
            return f"{PREFIX}w:{counted.name}"
        case Slot():
            return f"{PREFIX}s:{counted.name}"
        case Fund():
            return f"{PREFIX}f:{counted.name}:{counted.period}"


def _counted(claim: Claim) -> list[Counted]:
    return [*(window for window, _ in claim.windows), *claim.slots, *(fund for fund, _ in claim.funds)]


def _taken(claim: Claim, answer: Sequence[bytes]) -> Taken:
    refused, wait = int(answer[0]), float(answer[1])
    numbers = list(map(float, answer[3:]))
    left, funds = numbers[: len(claim.windows)], numbers[len(claim.windows) :]
    return Taken(_counted(claim)[refused - 1] if refused else None, wait, left, funds[::2], funds[1::2])


def _seconds(fund: Fund, now: float) -> int:
    return max(1, int(fund.ends - now)) + KEPT_S
