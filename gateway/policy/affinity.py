"""Where a conversation must go back to: what a target has sealed can be read by the same account only."""

from attrs import frozen


@frozen
class Affinity:
    """The target and the credential that wrote the last reply of a conversation; empty names for none."""

    target: str = ""
    credential: str = ""

    def __bool__(self) -> bool:
        return bool(self.target)

    @property
    def provider(self) -> str:
        """The provider of the target."""
        return self.target.partition(":")[0]

    def encode(self) -> str:
        """Write it as one text, for a store: neither name holds a space at its end."""
        return f"{self.target} {self.credential}" if self.target else ""

    @classmethod
    def decode(cls, text: str) -> "Affinity":
        """Read what `encode` wrote; a model's name may hold spaces, a credential's id never does."""
        target, _, credential = text.rpartition(" ")
        return cls(target, credential)


NO_AFFINITY = Affinity()
