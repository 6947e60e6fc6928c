"""What an exchange has taken of its limits and budgets, until it ends and is settled by what it has used."""

from collections.abc import Sequence

from attrs import define, field

from gateway.accounts.budgets import USD, BudgetLine
from gateway.accounts.charges import Charge, cost_of_all, tokens_of
from gateway.accounts.headers import Reading, tightest
from gateway.accounts.ledger import Grant, Ledger
from gateway.accounts.limits import Limited
from gateway.store.counters import Fund


@define
class Hold:
    """What was granted to an exchange. `budgets` are those of the claim's funds, in their order."""

    limited: Limited
    budgets: Sequence[BudgetLine]
    grant: Grant
    is_settled: bool = field(default=False, init=False)
    _given_back: list[float] = field(factory=list, init=False)  # units of each token window

    def settle(self, ledger: Ledger, charges: Sequence[Charge]) -> list[tuple[BudgetLine, Fund, float]]:
        """Give back what was reserved and not used, take what was used besides, and free the slots. Once.

        Return each budget that it has spent of, its fund, and what was spent of that when it was granted and since.
        """
        if self.is_settled:
            return []
        self.is_settled = True
        claim = self.grant.claim
        if not (claim.slots or claim.funds or self.has_tokens):
            return []  # a request that was taken is never given back
        windows = []
        reserves = claim.windows[len(claim.windows) - len(self.limited.tokens) :] if self.has_tokens else ()
        for meter, (window, reserved) in zip(self.limited.tokens if reserves else (), reserves, strict=True):
            used = tokens_of(charges, meter.cached)
            windows.append((window, used - reserved))
            self._given_back.append(reserved - used)
        spent = []
        for budget, (fund, reserved) in zip(self.budgets, claim.funds, strict=True):
            amount = cost_of_all(charges) if budget.unit == USD else tokens_of(charges)
            spent.append((budget, fund, reserved, float(amount)))
        ledger.settle(self.grant, windows, [(fund, reserved, amount) for _, fund, reserved, amount in spent])
        before = self.grant.taken.spent
        return [
            (budget, fund, known + amount)
            for (budget, fund, _, amount), known in zip(spent, before, strict=True)
            if amount
        ]

    @property
    def has_tokens(self) -> bool:
        """Whether token windows are part of the claim."""
        return len(self.grant.claim.windows) > len(self.limited.requests)

    def readings(self) -> tuple[Reading | None, Reading | None]:
        """Return the tightest limits of requests and of tokens: as they were granted, or as they are settled."""
        left, limited = self.grant.taken.left, self.limited
        if not self.has_tokens:
            return tightest(limited.requests, left), None
        first = len(limited.requests)
        back = self._given_back or [0.0] * len(limited.tokens)
        tokens = [
            min(meter.window.capacity, units + more)
            for meter, units, more in zip(limited.tokens, left[first:], back, strict=True)
        ]
        return tightest(limited.requests, left[:first]), tightest(limited.tokens, tokens)
