"""Finds out what one attempt at a target costs, however it ends.

An error status or a reset before the head of the reply costs nothing. A reply that was cut short, a client that left, a
target that was silent for too long or came second in a race: all of them cost what the request was, and what was said
until then, and providers do not say how much that is. So the gateway estimates it.
"""

import asyncio

from attrs import define, evolve, field

from gateway.accounts.charges import ESTIMATED, PROVIDER, UNKNOWN, Charge
from gateway.accounts.estimates import tokens_in_reply, tokens_of_request, tokens_said
from gateway.accounts.prices import cost_of
from gateway.config.schema import Target
from gateway.errors import Declined, SaidNothing, TimedOut
from gateway.faults import Fault
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.model_call import ModelCall
from gateway.proxy.relay import Relay
from gateway.wire.lane import Lane
from gateway.wire.neutral import Usage

# Tokens of one attempt; no context is a tenth as long. A provider that counts more is mistaken, and is not believed.
MAX_TOKENS = 20_000_000


@define
class Bill:
    """What is known of the cost of one attempt while it runs.

    `sent` is the body of its request, empty before it is sent; `has_head`: a good reply has begun. `usage` is that of a
    whole reply, `whole` its body; `relay` and `lane` carry a streamed one.
    """

    call: ModelCall
    target: Target
    sent: bytes = field(default=b"", init=False, repr=False)
    has_head: bool = field(default=False, init=False)
    usage: Usage | None = field(default=None, init=False)
    earlier: Usage | None = field(default=None, init=False)  # of a call that was answered, before the one that failed
    whole: bytes = field(default=b"", init=False, repr=False)
    relay: Relay | None = field(default=None, init=False, repr=False)
    lane: Lane | None = field(default=None, init=False, repr=False)

    def note_sent(self, body: bytes) -> None:
        """Note that the request is on its way."""
        self.sent = body or b" "

    def close(self, error: BaseException | None) -> Charge | None:
        """Return what the attempt has cost; None if it cost nothing. `error` is what it ended with."""
        if not self.sent or not self._costs(error):
            return None
        usage, source = self._usage(error)
        config = self.call.context.snapshot.config
        provider, model = self.target.provider, self.target.model or ""
        rates = self.call.context.snapshot.prices.of(config.providers[provider], model)
        return Charge(provider, model, usage, source, cost_of(usage, rates))

    def _costs(self, error: BaseException | None) -> bool:
        if self.earlier is not None:
            return True
        if self.has_head:
            has_spoken = self.call.context.exchange.is_spoken
            return not isinstance(error, Declined) or has_spoken  # an error that came as a 200 is one all the same
        if isinstance(error, TimedOut):
            return error.fault is not Fault.CONNECT
        return isinstance(error, asyncio.CancelledError | ClientGone)

    def _usage(self, error: BaseException | None) -> tuple[Usage | None, str]:
        """Return what was used, and who says so."""
        if self.earlier is not None and error is not None and not self.call.context.exchange.is_spoken:
            return self.earlier, ESTIMATED if self.earlier.is_estimated else PROVIDER
        usage = self.lane.usage if self.lane is not None else self.usage
        if usage is not None and (usage.prompt or 0) + (usage.output or 0) > MAX_TOKENS:
            self.call.gateway.telemetry.logs.log.warning(
                "odd usage", id=self.call.context.exchange.id, target=self.target.name, words="more than can be"
            )
            usage = None
        is_whole = error is None or isinstance(error, SaidNothing) or (self.lane is not None and self.lane.is_finished)
        if is_whole and usage is not None and (usage.input is not None or usage.images) and not usage.is_estimated:
            return usage, PROVIDER
        if not self.call.dialect.has_tokens:
            return usage, UNKNOWN if usage is None else PROVIDER
        if is_whole and usage is not None and usage.input is not None:
            return usage, ESTIMATED
        known = usage or Usage()
        return (
            evolve(
                known,
                input=known.input if known.input is not None else self._prompt,
                output=max(known.output or 0, self._said),
                is_estimated=True,
            ),
            ESTIMATED,
        )

    @property
    def _prompt(self) -> int:
        known = self.call.context.prompt_tokens
        return tokens_of_request(self.sent) if known is None else known

    @property
    def _said(self) -> int:
        if self.relay is not None:
            return tokens_said(self.relay.size, self.relay.chunks, self.relay.last)
        return tokens_in_reply(self.whole)
