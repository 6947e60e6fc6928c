"""Takes what a call needs of limits and budgets, in one step: all of it, or nothing and the call is refused.

A call whose limits count requests only is charged before its body is read (`middleware/limit`). Where tokens or money
are limited, what the body may cost is estimated first; so these are charged here.
"""

import math

from gateway.accounts.budgets import TOKENS, USD, BudgetLine, shown
from gateway.accounts.charges import PROVIDER
from gateway.accounts.estimates import FIRST_OUTPUT, tokens_of_request
from gateway.accounts.headers import Reading, tightest, write_headers
from gateway.accounts.hold import Hold
from gateway.accounts.ledger import Grant
from gateway.accounts.limits import Limited, span
from gateway.clock import write_time
from gateway.config.schema import Target
from gateway.errors import BudgetExceeded, GatewayError, RateLimited
from gateway.policy.shares import RETRY_S
from gateway.proxy.context import RequestContext
from gateway.proxy.model_call import ModelCall
from gateway.proxy.off_loop import off_loop
from gateway.proxy.state import Gateway
from gateway.store.counters import Claim, Fund, Slot, Taken, Window
from gateway.wire.codec.bounds import LARGE_BODY
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.codec.lenient import count

# How the dialects name the most tokens of a reply.
OUTPUT_CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
MOST_OUTPUT = 128_000  # tokens, of a model of which it is not known
MAX_COPIES = 128  # that OpenAI's `n` may ask for
OF_FORM = 1000  # tokens of a form's sound or pictures, whose bytes are no text


def must_reserve(call: ModelCall) -> bool:
    """Whether `reserve` has anything to do: most calls have been charged before their body was read."""
    return call.context.is_deferred or call.source.body.size > LARGE_BODY


async def reserve(call: ModelCall) -> None:
    """Take what a call needs, unless it was taken already. Raises RateLimited, BudgetExceeded."""
    gateway, context = call.gateway, call.context
    size = call.source.body.size
    if not context.is_deferred:
        if size > LARGE_BODY and call.dialect.has_tokens:  # should it be cut: then there is no time to count
            context.prompt_tokens = await off_loop(size, _prompt_of, call.source.body)
        return
    limited, now = context.limited, gateway.clock.time()
    budgets = context.snapshot.budgets.of(context.owner_name, call.resolved.label)
    windows, funds = list(limited.claim.windows), []
    if limited.tokens or budgets:
        prompt = context.prompt_tokens = await off_loop(size, _prompt_of, call.source.body)
        output = _output_of(call)
        windows += ((meter.window, min(prompt + output, meter.window.capacity)) for meter in limited.tokens)
        money = _money_of(call, prompt, output) if any(one.unit == USD for one in budgets) else 0.0
        needs = {USD: money, TOKENS: float(prompt + output)}
        funds = [(one.fund(now), min(one.most, needs[one.unit])) for one in budgets]
    grant = await gateway.ledger.take(Claim(windows, limited.slots, funds))
    context.is_deferred = False
    hold_or_refuse(gateway, context, limited, budgets, grant)


def hold_or_refuse(
    gateway: Gateway, context: RequestContext, limited: Limited, budgets: tuple[BudgetLine, ...], grant: Grant
) -> None:
    """Keep what was granted until the exchange ends, and write the headers. Raises RateLimited, BudgetExceeded."""
    hold = Hold(limited, budgets, grant)
    if grant.taken.refused is None:
        context.hold = hold
        tell(gateway, context, hold.readings())
        return
    raise refusal(gateway, context, limited, budgets, grant.claim, grant.taken)


def tell(gateway: Gateway, context: RequestContext, readings: tuple[Reading | None, Reading | None]) -> None:
    """Write what is left into the headers of the answer."""
    if readings != (None, None):
        now = gateway.clock.time()
        context.reply_headers.update(write_headers(*readings, now, is_anthropic=context.is_anthropic))


def refusal(
    gateway: Gateway,
    context: RequestContext,
    limited: Limited,
    budgets: tuple[BudgetLine, ...],
    claim: Claim,
    taken: Taken,
) -> GatewayError:
    """Return the error for a claim that was refused, and write into the headers what is left of its windows."""
    first = len(limited.requests)
    requests = tightest(limited.requests, taken.left[:first])
    tell(gateway, context, (requests, tightest(limited.tokens, taken.left[first:])))
    refused, count_refusal = taken.refused, gateway.telemetry.metrics.refusals.inc
    match refused:
        case Window():
            meter = limited.meter_of(refused)
            count_refusal(meter.whose if meter in limited.requests else f"{meter.whose}_tokens")
            words = f"Rate limit of {meter.limit} {meter.unit} a {span(meter.per)} reached for this {meter.whose}"
            error = RateLimited(words, retry_after=taken.wait)
            error.type = meter.unit
            return error
        case Slot():
            whose = refused.name.partition(":")[0]
            count_refusal(f"{whose}_concurrent")
            words = f"This {whose} has {refused.most:g} requests in flight already: wait for one of them"
            return RateLimited(words, retry_after=RETRY_S)
        case _:
            assert isinstance(refused, Fund)
            count_refusal("budget")
            budget = next(one for one in budgets if one.fund(gateway.clock.time()).name == refused.name)
            spent = taken.spent[[fund for fund, _ in claim.funds].index(refused)]
            if spent < refused.most:
                words = f"{_whose(budget)} budget: what is left of it is reserved by calls in flight; try again"
                error = RateLimited(words, retry_after=RETRY_S)
                error.type = TOKENS
                return error
            return _over_budget(budget, refused, gateway.clock.time())


def settle(gateway: Gateway, context: RequestContext) -> None:
    """Settle what an exchange has taken by what it has used. May be called twice."""
    if context.is_deferred:  # it ended before its body was understood: that is a request as well
        context.is_deferred = False
        gateway.ledger.charge(context.limited.claim.windows)
    if (hold := context.hold) is None or hold.is_settled:
        return
    spent = hold.settle(gateway.ledger, context.exchange.charges)
    if hold.has_tokens or hold.budgets:
        _note_output(gateway, context)
    if hold.has_tokens:
        tell(gateway, context, hold.readings())
    for budget, fund, so_far in spent:
        if so_far >= budget.warn_at * budget.most:  # what others have spent meanwhile they see themselves
            _warn(gateway, budget, fund)


def _note_output(gateway: Gateway, context: RequestContext) -> None:
    """Note how long the reply was, if a provider says so."""
    exchange = context.exchange
    last = exchange.charges[-1] if exchange.charges else None
    if last is None or last.usage is None or last.source != PROVIDER or last.provider != exchange.provider:
        return
    if context.endpoint.dialect.generates:
        gateway.outputs.note(context.owner_name, last.usage.output or 0)


def _warn(gateway: Gateway, budget: BudgetLine, fund: Fund) -> None:
    """Say once a period that most of a budget is spent."""
    cells = gateway.ledger.cells
    spent, _ = cells.spent(fund)
    if spent < budget.warn_at * budget.most:
        return
    if cells.is_first(Fund(f"warned:{fund.name}", 1.0, fund.period, fund.ends)):
        unit = budget.unit
        gateway.telemetry.logs.log.warning(
            "budget nearly spent" if spent < budget.most else "budget spent",
            budget=budget.name,
            unit=unit,
            per=budget.per,
            spent=round(shown(unit, spent), 6),
            of=budget.shown_most,
            resets_at=write_time(fund.ends),
        )


def _over_budget(budget: BudgetLine, fund: Fund, now: float) -> BudgetExceeded:
    amount = f"{budget.shown_most:g} {'USD' if budget.unit == USD else 'tokens'} a {budget.per}"
    resets_at = write_time(fund.ends)
    words = f"{_whose(budget)} budget of {amount} is spent; it begins anew at {resets_at}"
    return BudgetExceeded(words, resets_at, math.ceil(max(1.0, fund.ends - now)))


def _whose(budget: BudgetLine) -> str:
    """Return how a message about a budget begins."""
    whose, _, name = budget.name.partition(":")
    return {"key": "This key's", "route": f"The route's '{name}'"}.get(whose, "The gateway's")


def _prompt_of(body: Body) -> int:
    if not isinstance(body, JsonBody):
        return OF_FORM
    return tokens_of_request(b" ".join(map(bytes, body.members.values())))


def _output_of(call: ModelCall) -> int:
    """Return how many tokens the reply may have: as many as the client allows, else what the key's replies have had."""
    body = call.source.body
    if not (call.dialect.generates or call.dialect.compacts):
        return 0
    asked = [found for name in OUTPUT_CAPS if isinstance(body, JsonBody) and (found := _number(body, name))]
    wanted = min(asked) if asked else call.gateway.outputs.of(call.context.owner_name) or FIRST_OUTPUT
    copies = _number(body, "n") if isinstance(body, JsonBody) else 0
    return min(wanted, _most_output(call)) * max(1, min(copies, MAX_COPIES))


def _most_output(call: ModelCall) -> int:
    """Return the longest reply that any target may write."""
    snapshot = call.context.snapshot
    known = [
        snapshot.capabilities.profile(snapshot.config.providers[target.provider], target.model or "").max_output
        for target in (*call.resolved.route.targets, *call.resolved.route.context_fallback)
    ]
    return max((most if most is not None else MOST_OUTPUT for most in known), default=MOST_OUTPUT)


def _number(body: JsonBody, name: str) -> int:
    value = body.members.get(name)
    text = bytes(value).strip() if value is not None and len(value) < 20 else b""
    return count(int(text)) or 0 if text.isdigit() else 0


def _money_of(call: ModelCall, prompt: int, output: int) -> float:
    """Return what a call costs at most, by the dearest target that can be asked."""
    snapshot, route = call.context.snapshot, call.resolved.route

    def cost(target: Target) -> float:
        rates = snapshot.prices.of(snapshot.config.providers[target.provider], target.model or "")
        if rates is None:
            return 0.0
        return prompt * rates.dearest["input"] + output * rates.dearest["output"] + (rates.per_request or 0)

    return max(map(cost, (*route.targets, *route.context_fallback)), default=0.0)
