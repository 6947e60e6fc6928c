"""What an attacker tries, row by row of the threat model in docs/reliability.md."""
