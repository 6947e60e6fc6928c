"""All long-lived parts in one record, and what changes together at a reload in another."""

import asyncio
import random
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from aiohttp import web
from attrs import define, field

from gateway.clock import Clock
from gateway.config.schema import OAuth
from gateway.policy.health import Health
from gateway.policy.retries import RetryBudget
from gateway.proxy.plan.reasoning_memory import ReasoningMemory
from gateway.proxy.plan.refused_members import RefusedMembers
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.tokenizer import Tokenizer
from gateway.store.protocol import Windows
from gateway.store.watched import WatchedResponses
from gateway.telemetry.logs import Logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import Upstream
from gateway.upstream.oauth import TokenFile


@define
class Gateway:
    """Everything that lives as long as the process."""

    snapshot: Snapshot
    upstream: Upstream
    health: Health
    logs: Logs
    redactor: Redactor
    metrics: Metrics
    clock: Clock
    dice: random.Random
    windows: Windows
    responses: WatchedResponses
    packaged: Mapping[str, Any]  # data/models.yaml
    top_models: Mapping[str, Any]  # data/top_models.yaml
    started_at: float  # Unix seconds
    own_secret: bytes = field(repr=False)  # where providers.yaml has none
    builtin_url: str = ""
    state_dir: str | None = None
    tokenizer: Tokenizer | None = None  # with the extra [tokenizer]
    token_files: dict[OAuth, TokenFile] = field(factory=dict)
    reasoning_memory: ReasoningMemory = field(factory=ReasoningMemory)
    refused_members: RefusedMembers = field(factory=RefusedMembers)
    budgets: dict[str, RetryBudget] = field(factory=dict)
    rotations: dict[str, int] = field(factory=dict)
    background_tasks: set[asyncio.Task[None]] = field(
        factory=set
    )  # what is still to be stored of exchanges that have ended
    exchanges: dict[str, asyncio.Task[Any]] = field(factory=dict)  # in flight, by request id
    key_seen_valid: dict[str, bool] = field(factory=dict)  # provider -> what traffic last showed
    reload_problems: list[str] = field(factory=list)
    is_started: bool = False
    is_draining: bool = False
    is_cutting: bool = False  # the drain is over: what still runs is told so and ends

    @property
    def secret(self) -> bytes:
        """Signs what clients carry for us."""
        given = self.snapshot.config.server.secret
        return given.value.encode() if given is not None and given.value else self.own_secret

    def token_file(self, provider: str, oauth: OAuth) -> TokenFile:
        """The credentials file of a provider: one object, so that one refresh serves all."""
        if oauth not in self.token_files:
            exchange = partial(self.upstream.post_form, f"{provider} token")
            self.token_files[oauth] = TokenFile(oauth, self.clock, exchange, self.logs.log.warning)
        return self.token_files[oauth]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""
        task = asyncio.create_task(work)
        self.background_tasks.add(task)
        task.add_done_callback(self.background_tasks.discard)

    def next_rotation(self, alias: str) -> int:
        """Count an exchange of a route, for round robin."""
        next_rotation = self.rotations.get(alias, 0)
        self.rotations[alias] = next_rotation + 1
        return next_rotation

    def budget(self, provider: str) -> RetryBudget:
        """The budget of second tries at a provider."""
        if (budget := self.budgets.get(provider)) is None:
            budget = self.budgets[provider] = RetryBudget()
        return budget


GATEWAY = web.AppKey("gateway", Gateway)
