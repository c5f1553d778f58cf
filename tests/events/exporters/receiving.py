"""What exporters send to, in tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from events.exporters.contract import Exporter
from events.exporters.meters import Meter
from events.job_run import JobRun
from events.metrics import JobMetrics

Labels = tuple[str, ...]


class Seen(Exporter):
    """An exporter that keeps what it gets."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, Labels], float] = {}
        self.runs: list[JobRun] = []
        self.jobs: list[JobMetrics] = []
        self.closed = 0

    def record(self, meter: Meter, value: float, labels: Mapping[str, str]) -> None:
        """Counters and histograms add up."""
        assert set(labels) == set(meter.labels)
        key = (meter.name, tuple(labels[label] for label in meter.labels))
        before = 0.0 if meter.kind == "gauge" else self.values.get(key, 0.0)
        self.values[key] = before + value

    def ended(self, run: JobRun) -> None:
        self.runs.append(run)

    def finished(self, job: JobMetrics) -> None:
        self.jobs.append(job)

    def close(self) -> None:
        self.closed += 1

    def of(self, name: str) -> dict[Labels, float]:
        """The values of a meter that are not 0, by labels."""
        return {
            labels: value
            for (meter, labels), value in self.values.items()
            if meter == name and value
        }


def scrape(address: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples at a Prometheus address, by name and labels."""
    answer = requests.get(address, timeout=30)
    answer.raise_for_status()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def sample(address: str, name: str, **labels: str) -> float | None:
    """One of them."""
    return scrape(address).get((name, frozenset(labels.items())))


@contextmanager
def udp_server() -> Iterator[socket.socket]:
    """A bound socket that waits for 20 s at most."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        yield server


class Collector:
    """An OpenTelemetry collector: takes spans over HTTP, or refuses with `status`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.append(self.path)
                if collector.status == 200:
                    collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            found = {item.key: item.value.string_value for item in resource.resource.attributes}
            self.resources.append(found)
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def named(self, name: str) -> Span:
        """The one span of this name."""
        [span] = [span for span in self.spans if span.name == name]
        return span


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join(10)
