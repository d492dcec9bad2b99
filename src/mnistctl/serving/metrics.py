"""What Prometheus collects from the server: traffic, the queue, and drift of what is read."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mnistctl.serving.messages import DigitRecord

disable_created_metrics()  # type: ignore[no-untyped-call] # the times at which counters began

TYPE = CONTENT_TYPE_LATEST
WINDOW = 1000  # digits: drift is measured over the last ones

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = CounterMetric(
            "mnistctl_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "mnistctl_request_seconds",
            "Time from the start of a request to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "mnistctl_batch_requests",
            "Requests that a worker read together.",
            buckets=_BATCHES,
            registry=registry,
        )
        self.waiting = Gauge("mnistctl_queue_requests", "Requests that wait.", registry=registry)
        self.in_flight = Gauge(
            "mnistctl_active_requests",
            "Requests that wait or are being read.",
            registry=registry,
        )
        self.restarts = CounterMetric(
            "mnistctl_worker_restarts", "Worker processes that have ended.", registry=registry
        )
        self._digits = CounterMetric(
            "mnistctl_digits", "Digits read, by label.", ["model", "label"], registry=registry
        )
        self._rejected = CounterMetric(
            "mnistctl_digits_rejected", "Digits rejected.", ["model"], registry=registry
        )
        self._recent: dict[str, deque[DigitRecord]] = {}
        registry.register(self)  # for `collect`

    def record_digits(self, model: str, digits: Iterable[DigitRecord]) -> None:
        """Count digits that a model has read."""
        recent = self._recent.setdefault(model, deque(maxlen=WINDOW))
        for digit in digits:
            recent.append(digit)
            if digit.is_rejected:
                self._rejected.labels(model).inc()
            else:
                self._digits.labels(model, digit.label).inc()

    def collect(self) -> Iterator[Metric]:
        """The metrics over a sliding window, which show drift."""
        size = GaugeMetricFamily(
            "mnistctl_window_digits", f"Digits in the window, at most {WINDOW}.", labels=["model"]
        )
        rejected = GaugeMetricFamily(
            "mnistctl_window_rejected_ratio",
            "Share of rejected digits in the window.",
            labels=["model"],
        )
        unfamiliar = GaugeMetricFamily(
            "mnistctl_window_unfamiliar_ratio",
            "Share of the digits in the window whose familiarity is below the model's threshold.",
            labels=["model"],
        )
        familiarity = GaugeMetricFamily(
            "mnistctl_window_familiarity_mean",
            "Mean familiarity of the digits in the window.",
            labels=["model"],
        )
        answers = GaugeMetricFamily(
            "mnistctl_window_answer_ratio",
            "Share of each label among the digits in the window that were not rejected.",
            labels=["model", "label"],
        )
        for model, recent in self._recent.items():
            size.add_metric([model], len(recent))
            if not recent:
                continue
            rejected.add_metric([model], sum(digit.is_rejected for digit in recent) / len(recent))
            share = sum(digit.is_unfamiliar for digit in recent) / len(recent)
            unfamiliar.add_metric([model], share)
            familiarity.add_metric([model], sum(digit.familiarity for digit in recent) / len(recent))
            labels = Counter(digit.label for digit in recent if not digit.is_rejected)
            for label, count in sorted(labels.items()):
                answers.add_metric([model, label], count / labels.total())
        yield from (size, rejected, unfamiliar, familiarity, answers)

    def text(self) -> bytes:
        """All metrics in the format of Prometheus."""
        return generate_latest(self._registry)
