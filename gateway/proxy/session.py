"""Where the conversation of one call was served before, and so where the call goes first.

Two things bring a call back to its last target and credential. A prompt cache is there: then the call goes elsewhere if
that place is not well. Or the account holds what nobody else can read: the thread of which Anthropic's client sends the
new messages only. Then it goes there or is refused, with the error on which the client sends the whole conversation.
"""

from collections.abc import Sequence
from functools import cached_property

from attrs import define, field

from gateway.config.provider_schema import Provider
from gateway.config.schema import Target
from gateway.errors import BadRequest, CannotSay, GatewayError, NotFound
from gateway.policy.affinity import NO_AFFINITY, NO_TRAIL, Affinity, Trail
from gateway.policy.capabilities import makes_compactions
from gateway.policy.sessions import session_key, session_of
from gateway.proxy.model_call import ModelCall
from gateway.proxy.plan.choose import lost_tools
from gateway.wire.anthropic_messages.threads import THREAD_NOT_FOUND, THREAD_UNSUPPORTED
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.profile import Profile


@define
class Session:
    """The conversation of one call. `key` is empty if it is of no use to know it."""

    call: ModelCall
    key: str = field(default="", init=False)
    trail: Trail = field(default=NO_TRAIL, init=False)
    pinned: Affinity = field(default=NO_AFFINITY, init=False)  # who holds the thread that the call continues

    async def look_up(self) -> None:
        """Find who has served the conversation. Raises NotFound or CannotSay if its thread is out of reach."""
        call, source = self.call, self.call.source
        if self._is_of_use and (session := self._name()):
            self.key = session_key(source.owner, call.resolved.alias, session)
            self.trail = await call.gateway.sessions.find(self.key)
        if source.asked.thread is not None and source.asked.thread.previous:
            await self._pin(source.asked.thread.previous)

    def ordered(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Put the target first to which the conversation goes back, unless another one can do more for the call.

        That is a target that runs the tools that the call is about, such as Claude Code's web search; and before it
        the one that alone can read a compaction. For a thread all others are left out.
        """
        if self.pinned.target:
            return [target for target in targets if target.name == self.pinned.target]
        source = self.call.source
        first = source.history.affinity
        if not first.target and self.call.resolved.route.policy == "sticky" and self._is_well(self.trail.last):
            first = self.trail.last
        if first.target:
            targets = _first(targets, first)
        if source.sought_tools:
            targets = sorted(targets, key=self._lost_tools)
        if source.dialect.compactions is None:
            return targets
        if source.sealed_compactions and not self.compaction_home.target:
            return sorted(targets, key=lambda target: not self._reads_compactions(target))
        return _first(targets, self.compaction_home)

    def credential_at(self, target: str) -> str:
        """Return the id of the credential with which a target has served the conversation; empty if none has."""
        first = self.pinned or self.compaction_home or self.call.source.history.affinity
        return first.credential if first.target == target else self.trail.credential_at(target)

    def note(self, target: str, credential: str, reply: str) -> None:
        """Note who serves the conversation now; `reply` is the id of the message that it writes."""
        call, before, thread = (
            self.call,
            self.pinned or self.call.source.history.affinity,
            self.call.source.asked.thread,
        )
        if not (self.key or before.target or thread is not None):
            return
        config, step = call.context.snapshot.config, Affinity(target, credential)
        if self.key:
            trail = self.trail.beside(step) if self._is_errand(target) else self.trail.after(step)
            call.gateway.sessions.keep(self.key, trail, config.affinity.warm)
        if thread is not None and reply:
            call.gateway.threads.keep(self._thread_key(reply), NO_TRAIL.after(step), config.store.ttl)
        if self.key or before.target:
            call.context.exchange.note_affinity(self._compared(step))

    def lost(self, refusals: Sequence[BadRequest]) -> GatewayError | None:
        """Return the error for a thread whose account has failed; None if the account's own fault is to be sent.

        `refusals` say why other targets could not be asked.
        """
        if not self.pinned:
            return next((one for one in refusals if one.code == THREAD_UNSUPPORTED), None)
        if len(self._accounts()) > 1:
            return _not_found()
        return _unsupported() if len(self.call.resolved.route.targets) > 1 else None

    @cached_property
    def compaction_home(self) -> Affinity:
        """Who has made the compaction that only its maker can read."""
        source = self.call.source
        if not source.sealed_compactions:
            return NO_AFFINITY
        return self.call.gateway.compaction_homes.find(source.owner, source.sealed_compactions)

    def _reads_compactions(self, target: Target) -> bool:
        """Whether a target may have made a compaction that it alone can read."""
        (provider, profile), dialect = self._known(target), self.call.dialect
        return dialect.name in provider.speaks and makes_compactions(dialect.name, provider, profile)

    @property
    def _is_of_use(self) -> bool:
        """Whether there is more than one place for the conversation, and a prompt cache in each."""
        call = self.call
        route, snapshot = call.resolved.route, call.context.snapshot
        if not snapshot.rotating and route.policy != "sticky":
            return False
        if not snapshot.config.affinity.warm or not (call.dialect.generates or call.dialect.compacts):
            return False
        return route.policy == "sticky" or any(target.provider in snapshot.rotating for target in route.targets)

    def _is_errand(self, target: str) -> bool:
        """Whether a call goes elsewhere only for tools that its conversation's own target does not run."""
        home = self.trail.last.target
        if not self.call.source.sought_tools or home in ("", target):
            return False
        lost = {one.name: self._lost_tools(one) for one in self.call.resolved.route.targets}
        return home in lost and lost.get(target, 0) < lost[home]

    def _lost_tools(self, target: Target) -> int:
        provider, profile = self._known(target)
        return lost_tools(self.call.source, provider, profile)

    def _known(self, target: Target) -> tuple[Provider, Profile]:
        """Return a target's provider, and what its model can do there."""
        snapshot = self.call.context.snapshot
        provider = snapshot.config.providers[target.provider]
        return provider, snapshot.capabilities.profile(provider, target.model or "")

    def _name(self) -> str:
        body = self.call.source.body
        return session_of(self.call.headers, body) if isinstance(body, JsonBody) else ""

    async def _pin(self, previous: str) -> None:
        maker = (await self.call.gateway.threads.find(self._thread_key(previous))).last
        accounts = self._accounts()
        if not maker and len(accounts) <= 1:
            return  # if anybody has it, it is this account
        is_there = (maker.target, maker.credential) in accounts
        if not maker or not is_there or (len(accounts) > 1 and not self._is_well(maker)):
            raise _not_found()
        self.pinned = maker

    def _accounts(self) -> set[tuple[str, str]]:
        """Return (target, id of a credential) of all places of the route that may hold threads."""
        call, snapshot = self.call, self.call.context.snapshot
        found = set()
        for target in call.resolved.route.targets:
            provider = snapshot.config.providers[target.provider]
            if call.dialect.name not in provider.speaks:
                continue
            pool = snapshot.credential_pools.get(target.provider)
            found |= {(target.name, one.id) for one in (pool.credentials if pool is not None else ())}
        return found

    def _is_well(self, place: Affinity) -> bool:
        """Whether a target may be asked now with this credential."""
        pool = self.call.context.snapshot.credential_pools.get(place.provider)
        if not place or (pool is not None and pool.find(place.credential) is None):
            return False
        gateway = self.call.gateway
        return gateway.selection.health.wait(place.target, place.credential, gateway.clock.monotonic()) == 0.0

    def _compared(self, step: Affinity) -> str:
        """Say whether `step` is where the conversation was served before: kept, moved or new."""
        before = self.pinned or self.call.source.history.affinity or self.trail.last
        known = self.trail.credential_at(step.target)
        if self._is_errand(step.target):
            before = Affinity(step.target, known) if known else NO_AFFINITY
        elif known and self.call.resolved.route.policy != "sticky":
            before = Affinity(step.target, known)
        if not before:
            return "new"
        return "kept" if before == step else "moved"

    def _thread_key(self, message: str) -> str:
        return session_key(self.call.source.owner, "", message)


def _first(targets: Sequence[Target], place: Affinity) -> Sequence[Target]:
    return sorted(targets, key=lambda target: target.name != place.target) if place else targets


def _not_found() -> NotFound:
    words = "The account that holds this thread cannot be reached: send the whole conversation as a new thread"
    return NotFound(words, param="thread", code=THREAD_NOT_FOUND)


def _unsupported() -> CannotSay:
    words = "Message threads cannot be continued with this model: send the whole conversation"
    return CannotSay(words, param="thread", code=THREAD_UNSUPPORTED)
