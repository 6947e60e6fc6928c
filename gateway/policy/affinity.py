"""Where a conversation goes back to, and why.

It must, if a target has sealed something in it: the same account only can read that. It should, as long as that
target's prompt cache is warm: what is read from a cache costs a tenth.
"""

from collections import OrderedDict

from attrs import define, field, frozen

MAX_STEPS = 4  # targets of one conversation that are remembered: routes rarely have more
MAX_TRAILS = 50_000  # of one memory; about 20 MB


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


@frozen
class Trail:
    """The targets that have served a conversation, the last one first, each with its credential."""

    steps: tuple[Affinity, ...] = ()

    @property
    def last(self) -> Affinity:
        """Who served the conversation last."""
        return self.steps[0] if self.steps else NO_AFFINITY

    def credential_at(self, target: str) -> str:
        """Return the credential with which a target has served the conversation; empty if it has not."""
        return next((step.credential for step in self.steps if step.target == target), "")

    def after(self, step: Affinity) -> "Trail":
        """Return the trail once `step` has served the conversation."""
        return Trail((step, *(one for one in self.steps if one.target != step.target))[:MAX_STEPS])

    def beside(self, step: Affinity) -> "Trail":
        """Return the trail once `step` has served one call of a conversation that stays where it is."""
        return Trail((*self.steps[:1], *Trail(self.steps[1:]).after(step).steps)[:MAX_STEPS])

    def encode(self) -> str:
        """Write it as one text, for a store that several gateways share."""
        return "\n".join(step.encode() for step in self.steps)

    @classmethod
    def decode(cls, text: str) -> "Trail":
        """Read what `encode` wrote."""
        return cls(tuple(Affinity.decode(line) for line in text.split("\n") if line))


NO_TRAIL = Trail()


@define
class Trails:
    """The trails of the newest conversations, by their keys: for as long as each is kept, and at most `most` of them.

    Pure: the caller passes the time, in monotonic seconds.
    """

    most: int = MAX_TRAILS
    _kept: OrderedDict[str, tuple[float, Trail]] = field(factory=OrderedDict, init=False)  # (until, trail)

    def __len__(self) -> int:
        """Return the number of conversations that are remembered."""
        return len(self._kept)

    def find(self, key: str, now: float) -> Trail:
        """Return the trail of a conversation; NO_TRAIL if none is remembered."""
        until, trail = self._kept.get(key, (now, NO_TRAIL))
        return trail if until > now else NO_TRAIL

    def keep(self, key: str, trail: Trail, until: float) -> None:
        """Remember a trail. The conversation that was served longest ago goes first."""
        self._kept.pop(key, None)
        self._kept[key] = until, trail
        if len(self._kept) > self.most:
            self._kept.popitem(last=False)
