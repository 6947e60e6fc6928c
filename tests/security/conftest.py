"""The fixtures of tests/flows that start real daemons, for attacks on a whole process."""

from tests.flows.conftest import folder, run

__all__ = ["folder", "run"]
