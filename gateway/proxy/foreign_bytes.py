"""Around whatever reads a provider's bytes: what goes wrong there is that provider's fault, and another may answer."""

from collections.abc import Callable
from types import TracebackType

from attrs import frozen

from gateway.errors import GatewayError, Unreadable


@frozen
class ForeignBytes:
    """A context manager that turns any error but our own into Unreadable, after `log_bug` has logged it.

    An error of ours that a provider's bytes have brought to light must not become a 500: the client can do nothing
    about it, and the next target may send something else.
    """

    log_bug: Callable[[], None]

    def __enter__(self) -> None:
        """Begin to read."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise Unreadable in place of a bug."""
        if isinstance(error, Exception) and not isinstance(error, GatewayError):
            self.log_bug()
            raise Unreadable("The provider's reply cannot be read") from None
