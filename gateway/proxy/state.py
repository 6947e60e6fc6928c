"""Everything that lives as long as the process, by what it is for."""

import asyncio
import random
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from attrs import define, field, frozen

from gateway.accounts.ledger import Ledger
from gateway.accounts.outputs import Outputs
from gateway.accounts.running_totals import RunningTotals
from gateway.accounts.usage_sums import UsageSums
from gateway.clock import Clock
from gateway.config.provider_schema import OAuth, Provider
from gateway.config.schema import Target
from gateway.errors import UpstreamFault
from gateway.policy.health import Health
from gateway.policy.retries import RetryBudget
from gateway.policy.shares import Divided, Shared
from gateway.proxy.conversations import Conversations
from gateway.proxy.plan.compaction_homes import CompactionHomes
from gateway.proxy.plan.reasoning_memory import ReasoningMemory
from gateway.proxy.plan.refused_members import RefusedMembers
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.tokenizer import Tokenizer
from gateway.proxy.trail import loop_mark
from gateway.store.watched import WatchedResponses
from gateway.telemetry.logs import Logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import Upstream
from gateway.upstream.http1 import DIRECT
from gateway.upstream.oauth import TokenFile

DAY_S = 86400.0


@define
class Lifecycle:
    """Where the process stands, and what it has to wait for before it ends."""

    started_at: float  # Unix seconds
    is_started: bool = False
    is_draining: bool = False
    is_leaving: bool = False  # connections are told that they end: with a drain, or as another worker takes over
    last_request: float = 0.0  # monotonic: that was no probe, and came while it is draining
    is_cutting: bool = False  # the drain is over: what still runs is told so and ends
    exchanges: dict[str, asyncio.Task[Any]] = field(factory=dict)  # in flight, by request id
    slots: Divided = field(factory=Shared)  # exchanges in flight on this machine, by key
    bodies: Shared = field(factory=Shared)  # bytes of requests in memory, by key
    background_tasks: set[asyncio.Task[None]] = field(factory=set)  # what ended exchanges still have to store

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that no exchange waits for; the end of the process does."""
        task = asyncio.create_task(work)
        self.background_tasks.add(task)
        task.add_done_callback(self.background_tasks.discard)


@define
class Selection:
    """What the choice among targets and credentials rests on; lives on over reloads."""

    health: Health
    dice: random.Random
    retry_budgets: dict[str, RetryBudget] = field(factory=dict)  # by provider
    rotations: dict[str, int] = field(factory=dict)  # exchanges of each round-robin route
    key_seen_valid: dict[str, bool] = field(factory=dict)  # by provider: what traffic last showed

    def next_rotation(self, alias: str) -> int:
        """Count an exchange of a route, for round robin."""
        rotation = self.rotations.get(alias, 0)
        self.rotations[alias] = rotation + 1
        return rotation

    def rests(self, snapshot: Snapshot, now: float) -> dict[str, float]:
        """Return the seconds left of every target that rests: its breaker is open, or all its credentials rest."""
        rests = dict(self.health.resting(now))
        routes = snapshot.config.routes.values()
        places = {target.name: target.provider for route in routes for target in route.targets if target.model}
        places |= {name: name.partition(":")[0] for name in self.health.limited(now)}
        for name, provider in places.items():
            pool = snapshot.credential_pools.get(provider)
            if name not in rests and pool is not None:
                left = min(self.health.wait(name, one.id, now) for one in pool.credentials)
                if left:
                    rests[name] = left
        return rests

    def retry_budget(self, provider: str) -> RetryBudget:
        """Return the budget of second tries at a provider."""
        if (budget := self.retry_budgets.get(provider)) is None:
            budget = self.retry_budgets[provider] = RetryBudget()
        return budget


@frozen
class Telemetry:
    """Where the process says what happens."""

    logs: Logs
    redactor: Redactor
    metrics: Metrics


@frozen
class Setup:
    """What the process was started with, beside providers.yaml; a reload does not change it.

    `models`, `top_models` and `prices` are the packaged data; `own_secret` signs envelopes if the configuration has no
    secret; `builtin_url` is where the built-in mock listens, empty if no provider needs it.
    """

    models: Mapping[str, Any]
    top_models: Mapping[str, Any]
    prices: Mapping[str, Any]
    own_secret: bytes = field(repr=False)
    builtin_url: str = ""
    state_dir: str | None = None


@define
class Gateway:
    """Everything that lives as long as the process."""

    snapshot: Snapshot
    setup: Setup
    clock: Clock
    upstream: Upstream
    responses: WatchedResponses
    ledger: Ledger
    usage_sums: UsageSums
    lifecycle: Lifecycle
    selection: Selection
    telemetry: Telemetry
    tokenizer: Tokenizer | None = None  # with the extra [tokenizer]
    running_totals: RunningTotals = field(factory=RunningTotals)
    reasoning_memory: ReasoningMemory = field(factory=ReasoningMemory)
    compaction_homes: CompactionHomes = field(factory=CompactionHomes)
    refused_members: RefusedMembers = field(factory=RefusedMembers)
    reload_problems: list[str] = field(factory=list)
    outputs: Outputs = field(init=False)  # how long the replies of each key are
    sessions: Conversations = field(init=False)  # who served each conversation last
    threads: Conversations = field(init=False)  # who holds each of Anthropic's message threads
    loop_mark: str = field(init=False)  # what it calls itself in requests to providers, to know one that comes back
    _day: str = field(default="", init=False)
    _day_begins: float = field(default=-DAY_S, init=False)  # Unix seconds
    _token_files: dict[OAuth, TokenFile] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        shared = self.responses, self.clock, self.lifecycle.spawn
        self.sessions, self.threads = Conversations("session", *shared), Conversations("thread", *shared)
        self.loop_mark = loop_mark(self.secret)
        self.outputs = Outputs(self.ledger.cells)

    @property
    def secret(self) -> bytes:
        """Signs what clients carry for the gateway."""
        given = self.snapshot.config.server.secret
        return given.value.encode() if given is not None and given.value else self.setup.own_secret

    def token_file(self, provider: str, oauth: OAuth) -> TokenFile:
        """Return the credentials file of a provider: one object, so that one refresh serves all."""
        if oauth not in self._token_files:

            async def post_form(url: str, form: Mapping[str, str]) -> dict[str, Any]:
                outbound = self.snapshot.outbounds.get(provider, DIRECT)  # the one in force when it is asked
                return await self.upstream.post_form(f"{provider} token", outbound, url, form)

            self._token_files[oauth] = TokenFile(oauth, self.clock, post_form, self.telemetry.logs.log.warning)
        return self._token_files[oauth]

    def today(self) -> str:
        """Return the day (UTC) as the sums name it."""
        now = self.clock.time()
        if not self._day_begins <= now < self._day_begins + DAY_S:
            self._day_begins = now - now % DAY_S
            self._day = datetime.fromtimestamp(now, UTC).date().isoformat()
        return self._day

    def note_failed(self, target: Target, fault: UpstreamFault, *, is_stream: bool) -> None:
        """Count an attempt that has failed."""
        self.telemetry.metrics.attempts.inc(target.provider, fault.fault.value)
        self.running_totals.count_error(target.provider, target.model or "", is_stream=is_stream)

    def is_live(self, provider: Provider) -> bool:
        """Whether requests can be sent to a provider now: it has a credential, and its token file is in order."""
        oauth = provider.auth.oauth
        return provider.is_live and (oauth is None or not self.token_file(provider.name, oauth).problem)


GATEWAY = web.AppKey("gateway", Gateway)
