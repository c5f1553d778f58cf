"""The page that Prometheus reads."""

from __future__ import annotations

import pytest
import requests

from events.exporters.collection import Collection
from events.exporters.meters import METERS
from events.exporters.prometheus import PrometheusExporter
from messaging.errors import UsageError
from tests.events.exporters.receiving import sample, scrape
from tests.events.timelines import Story, executor_event


def test_what_happened_is_scraped() -> None:
    exporter = PrometheusExporter("127.0.0.1", 0)
    try:
        collection = Collection([exporter])
        collection.take([executor_event("executor.ready", 0, pool="gpu", threads=4)])
        collection.take([*Story("1").run(), *Story("2").run(20, state="FIZZLED")])
        collection.finish()
        where = exporter.where
        assert sample(where, "portfire_jobs_total", pool="gpu", state="COMPLETED") == 1
        assert sample(where, "portfire_jobs_total", pool="gpu", state="FIZZLED") == 1
        phase = {"pool": "gpu", "phase": "execution"}
        assert sample(where, "portfire_job_phase_seconds_count", **phase) == 2
        assert sample(where, "portfire_job_phase_seconds_sum", **phase) == 14
        assert sample(where, "portfire_job_phase_seconds_bucket", le="5.0", **phase) == 0
        assert sample(where, "portfire_job_phase_seconds_bucket", le="10.0", **phase) == 2
        labels = {label for _, pairs in scrape(where) for label, _ in pairs}
        assert labels <= {label for meter in METERS for label in meter.labels} | {"le"}
    finally:
        exporter.close()


def test_a_port_in_use_is_one_line_and_closing_frees_it() -> None:
    first = PrometheusExporter("127.0.0.1", 0)
    port = int(first.where.rpartition(":")[2].partition("/")[0])
    with pytest.raises(UsageError, match=f"at 127.0.0.1:{port}: Address already in use"):
        PrometheusExporter("127.0.0.1", port)
    first.close()
    first.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(first.where, timeout=5)
    PrometheusExporter("127.0.0.1", port).close()
