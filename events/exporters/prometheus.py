"""Metrics for Prometheus, on an HTTP server of their own."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from events.exporters.addresses import format_address
from events.exporters.contract import Exporter
from events.exporters.meters import METERS, SECONDS_BUCKETS, Meter
from messaging.errors import UsageError

_Metric = Counter | Gauge | Histogram


class PrometheusExporter(Exporter):
    """Serves all meters at ``/metrics`` from threads of its own."""

    def __init__(self, host: str, port: int) -> None:
        """Serve at `host` and `port`, 0 for any free one. Raises UsageError when that is taken."""
        self._registry = CollectorRegistry()
        self._metrics = {meter: _metric(meter, self._registry) for meter in METERS}
        address = format_address(host, port)
        try:
            self._server, self._thread = start_http_server(port, host, self._registry)
        except OSError as exc:
            reason = exc.strerror or exc
            raise UsageError(
                f"cannot serve metrics at {address}: {reason}; name another address"
            ) from exc
        self.where = f"http://{format_address(host, self._server.server_port)}/metrics"
        self._closed = False

    def record(self, meter: Meter, value: float, labels: Mapping[str, str]) -> None:
        """See Exporter."""
        metric = self._metrics[meter]
        series = metric.labels(**labels) if labels else metric
        if isinstance(series, Counter):
            series.inc(value)
        elif isinstance(series, Gauge):
            series.set(value)
        else:
            series.observe(value)

    def close(self) -> None:
        """See Exporter."""
        if not self._closed:
            self._closed = True
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5.0)


def _metric(meter: Meter, registry: CollectorRegistry) -> _Metric:
    if meter.kind == "counter":
        return Counter(meter.name, meter.help, meter.labels, registry=registry)
    if meter.kind == "gauge":
        return Gauge(meter.name, meter.help, meter.labels, registry=registry)
    return Histogram(
        meter.name, meter.help, meter.labels, registry=registry, buckets=SECONDS_BUCKETS
    )
