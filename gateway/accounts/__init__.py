"""Who has used what: limits, prices, budgets, and the sums of it all (docs/accounts.md).

Imports the policy, the configuration, the store and the wire, and never waits for a provider.
"""
