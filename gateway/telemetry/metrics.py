"""The metrics: counted in plain dicts on the hot path, written by prometheus-client when scraped.

prometheus-client's own counters take a lock and scan the buckets for each observation, ten times the cost of
counting. So our instruments implement its Collector interface, which is made for counts that are kept elsewhere.
Label values come from the configuration and from fixed sets of words, never from clients: each new value would be
a new time series.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, field
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

# Upper bounds of the buckets, in seconds. SLOW holds replies, from a refusal to minutes of reasoning; FAST holds the
# gateway's own overhead.
SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)

Labels = tuple[str, ...]
Sample = tuple[Labels, float]


@define(eq=False)
class Counter(Collector):
    """A counter: `count.inc(label, …)`."""

    name: str
    text: str
    labels: Labels
    _values: dict[Labels, float] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        if not self.labels:
            self._values[()] = 0.0  # a counter without labels is shown as 0 before its first count

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Add `by` to the series with these labels."""
        self._values[labels] = self._values.get(labels, 0.0) + by

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


@define(eq=False)
class Histogram(Collector):
    """A histogram of durations: `seconds.observe(value, label, …)`."""

    name: str
    text: str
    labels: Labels
    bounds: Sequence[float]
    _values: dict[Labels, list[float]] = field(factory=dict, init=False)  # a count per bound and for +Inf, then the sum

    def observe(self, value: float, *labels: str) -> None:
        """Count one duration, in seconds."""
        counts = self._values.get(labels)
        if counts is None:
            counts = self._values[labels] = [0.0] * (len(self.bounds) + 2)
        counts[bisect_left(self.bounds, value)] += 1
        counts[-1] += value

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for labels, counts in self._values.items():
            total = 0.0
            buckets = []
            for bound, count in zip([*map(str, self.bounds), "+Inf"], counts, strict=False):
                total += count
                buckets.append((bound, total))
            family.add_metric(labels, buckets, counts[-1])
        yield family


@define(eq=False)
class Watched(Collector):
    """A value that is kept elsewhere: `look` reads it at each scrape, so that the two cannot differ."""

    name: str
    text: str
    labels: Labels
    look: Callable[[], Iterable[Sample]]
    family: type[GaugeMetricFamily] | type[CounterMetricFamily] = GaugeMetricFamily

    def collect(self) -> Iterator[Metric]:
        family = self.family(self.name, self.text, labels=self.labels)
        for labels, value in self.look():
            family.add_metric(labels, value)
        yield family


class Metrics:
    """All instruments of one gateway, in a registry of their own.

    `longest` is how many seconds an exchange may take: the buckets reach that far.
    """

    def __init__(self, longest: float = 1800.0) -> None:
        slow = (*(bound for bound in SLOW if bound < longest), float(longest))
        self.registry = CollectorRegistry()
        count, seconds = self._counter, self._histogram
        self.requests = count("requests", "Exchanges that ended.", "endpoint", "alias", "provider", "outcome")
        self.errors = count("errors", "Errors told to clients, by whose they are.", "origin", "provider", "code")
        self.attempts = count("attempts", "Attempts at targets.", "provider", "outcome")
        self.fallbacks = count("fallbacks", "Attempts that moved on to another provider.", "from", "to")
        self.hedges = count("hedges", "Second targets asked because the first was slow.", "from", "to")
        self.key_requests = count("key_requests", "Exchanges with a model, by key.", "key", "team", "outcome")
        self.limits_alone = count("limits_alone", "Claims that this machine decided while the store was silent.")
        self.affinity = count("affinity", "Turns served where the last one was, or elsewhere.", "provider", "affinity")
        self.prompt_tokens = count(
            "affinity_tokens", "Prompt tokens of these turns, by cache.", "provider", "affinity", "part"
        )
        self.odd_finishes = count("odd_finishes", "Replies that ended with a word that no table knows.", "provider")
        self.refusals = count("refusals", "Requests refused by a limit.", "limit")
        self.store_failures = count("store_failures", "Requests to the store that failed, or were not tried.")
        self.reloads = count("config_reloads", "Configurations taken into force.")
        self.reload_failures = count("config_reload_failures", "Configurations refused at a reload.")
        self.duration = seconds("request_duration_seconds", "Whole exchanges.", slow, "endpoint")
        self.upstream = seconds("upstream_duration_seconds", "Attempts, to their end.", slow, "provider")
        self.first_token = seconds("time_to_first_token_seconds", "Request to first content.", slow, "provider")
        self.overhead = seconds("overhead_seconds", "First byte to the client, less the wait for upstream.", FAST)

    def watch(self, name: str, text: str, look: Callable[[], Iterable[Sample]], *labels: str) -> None:
        """Add a gauge that asks `look` for its samples."""
        self.registry.register(Watched(f"gateway_{name}", text, labels, look))

    def watch_count(self, name: str, text: str, look: Callable[[], int]) -> None:
        """Add a counter whose number `look` tells."""
        self.watch_counts(name, text, lambda: [((), float(look()))])

    def watch_counts(self, name: str, text: str, look: Callable[[], Iterable[Sample]], *labels: str) -> None:
        """Add a counter that asks `look` for its samples."""
        self.registry.register(Watched(f"gateway_{name}", text, labels, look, CounterMetricFamily))

    def expose(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        made = Counter(f"gateway_{name}", text, labels)
        self.registry.register(made)
        return made

    def _histogram(self, name: str, text: str, bounds: Sequence[float], *labels: str) -> Histogram:
        made = Histogram(f"gateway_{name}", text, labels, bounds)
        self.registry.register(made)
        return made
