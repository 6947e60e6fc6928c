"""Holds a key to its limits, before the body is read: its share of the exchanges in flight, and its rates.

Where tokens or money are limited, what the body may cost has to be known first: then the limits are only looked at
here, and charged in one step with the estimate (`proxy/reserve`).
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.accounts.limits import Limited
from gateway.errors import Unavailable
from gateway.policy.shares import RETRY_S, Full
from gateway.proxy.context import CONTEXT, RequestContext
from gateway.proxy.reserve import hold_or_refuse, refusal, settle
from gateway.proxy.state import GATEWAY, Gateway
from gateway.store.counters import Claim


@web.middleware
async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take a slot of the key's share for as long as the exchange lasts, and charge its limits.

    Raises Unavailable without a slot left, which charges nothing, RateLimited and BudgetExceeded. What was taken is
    settled when the exchange ends, however it does.
    """
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    if not context.endpoint.counts_for_capacity:
        if (limited := _limits_of(gateway, context)) is not None:
            await _take(gateway, context, limited)
        return await handler(request)
    slots, most = gateway.lifecycle.slots, context.snapshot.config.server.max_concurrent
    if (full := slots.take(context.owner_name, most, context.share)) is not None:
        gateway.telemetry.metrics.refusals.inc("share" if full is Full.OWNER else "max_concurrent")
        words = "This key has its share of the gateway in use" if full is Full.OWNER else "The gateway is full"
        raise Unavailable(f"{words}: try again in a moment", retry_after=RETRY_S)
    try:
        if (limited := _limits_of(gateway, context)) is not None:
            await _take(gateway, context, limited)
        return await handler(request)
    finally:
        slots.give_back(context.owner_name)
        settle(gateway, context)


def _limits_of(gateway: Gateway, context: RequestContext) -> Limited | None:
    """Return what has to be taken now: nothing, if there are no limits or what is needed is not known yet."""
    if not context.endpoint.is_limited:
        return None
    name, key = (context.owner.name, context.owner.key) if context.owner is not None else ("", None)
    limited = context.snapshot.limit_book.of(name, key, context.network, context.endpoint.limit_class)
    if not context.endpoint.counts_for_capacity:
        limited = limited.rates
    if context.endpoint.reserves and (limited.tokens or context.snapshot.budgets):
        context.limited, context.is_deferred = limited, True
        _look(gateway, context, limited)
        return None
    return limited if limited.requests or limited.slots else None


async def _take(gateway: Gateway, context: RequestContext, limited: Limited) -> None:
    context.limited = limited
    hold_or_refuse(gateway, context, limited, (), await gateway.ledger.take(limited.claim))


def _look(gateway: Gateway, context: RequestContext, limited: Limited) -> None:
    """Refuse what would be refused whatever its body is, before that is read."""
    budgets = context.snapshot.budgets.of(context.owner_name, "")
    now = gateway.clock.time()
    claim = Claim(limited.claim.windows, limited.slots, [(one.fund(now), 0.0) for one in budgets])
    if not (claim.windows or claim.slots or claim.funds) or gateway.ledger.is_shared:
        return  # or what is known here is not what counts
    taken = gateway.ledger.peek(claim)
    if taken.refused is not None:
        context.is_deferred = False
        raise refusal(gateway, context, limited, budgets, claim, taken)
