"""What a service does, in numbers, as Prometheus reads them."""

from collections.abc import Iterator
from typing import Any

from hybridge.errors import MissingExtraError
from hybridge.plan.program import Program
from hybridge.runtime.cloud.listener import Outcome
from hybridge.runtime.cloud.service import CloudService

_SECONDS = tuple(step * 10.0**power for power in range(-4, 1) for step in (1, 2.5, 5))
_ROWS = tuple(2.0**power for power in range(13))
_LABELS = ("program", "version")


class Metrics:
    """Listens to a service, and tells Prometheus what it heard.

    ``program`` is a name and ``version`` the first 12 digits of its hash, both empty for what is
    not served: clients cannot make labels of their own.

    Args:
        service: Whose queues are read whenever Prometheus asks.

    Raises `MissingExtraError` where Prometheus' client is not installed.
    """

    def __init__(self, service: CloudService) -> None:
        self._prometheus = prometheus = _prometheus()
        self._registry = registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "hybridge_requests",
            "Requests that have ended, by gRPC status",
            (*_LABELS, "status"),
            registry=registry,
        )
        self._seconds = prometheus.Histogram(
            "hybridge_request_seconds",
            "Time of answered requests: in the queue, in their batch, and altogether",
            (*_LABELS, "part"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = prometheus.Histogram(
            "hybridge_batch_rows", "Rows of batches", _LABELS, buckets=_ROWS, registry=registry
        )
        self._shed = prometheus.Counter(
            "hybridge_shed",
            "Requests refused because more was asked than could be computed in time",
            _LABELS,
            registry=registry,
        )
        self._expired = prometheus.Counter(
            "hybridge_expired",
            "Requests not computed because their time was spent",
            _LABELS,
            registry=registry,
        )
        registry.register(_Queues(service, prometheus))

    def on_outcome(self, outcome: Outcome) -> None:
        """Count a request."""
        labels = _labels(outcome.program)
        self._requests.labels(*labels, outcome.status).inc()
        if outcome.shed:
            self._shed.labels(*labels).inc()
        elif outcome.status == "DEADLINE_EXCEEDED":
            self._expired.labels(*labels).inc()
        if outcome.status == "OK":
            for part, milliseconds in (
                ("queue", outcome.queue_ms),
                ("run", outcome.run_ms),
                ("all", outcome.cloud_ms),
            ):
                self._seconds.labels(*labels, part).observe(milliseconds / 1e3)

    def on_batch(self, program: Program, rows: int) -> None:
        """Count a batch."""
        self._rows.labels(*_labels(program)).observe(rows)

    def page(self) -> bytes:
        """Return all numbers in Prometheus' text format, version 0.0.4."""
        text: bytes = self._prometheus.generate_latest(self._registry)
        return text


class _Queues:
    """Reads how long the queues are, whenever it is asked."""

    def __init__(self, service: CloudService, prometheus: Any) -> None:
        self._service = service
        self._family = prometheus.metrics_core.GaugeMetricFamily

    def collect(self) -> Iterator[Any]:
        waiting = self._family("hybridge_waiting_rows", "Rows that wait", labels=_LABELS)
        for program, rows in self._service.waiting():
            waiting.add_metric(_labels(program), rows)
        yield waiting


def _labels(program: Program | None) -> tuple[str, str]:
    return ("", "") if program is None else (program.name, program.sha256[:12])


def _prometheus() -> Any:
    try:
        import prometheus_client
        import prometheus_client.metrics_core
    except ModuleNotFoundError as error:
        raise MissingExtraError("prometheus-client", "serve") from error
    return prometheus_client
