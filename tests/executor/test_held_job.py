"""Jobs that an executor holds, and the copies of those that it passed on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from executor.held_job import HeldJob, HeldJobs, key_of
from messaging.pubsub import Received
from messaging.wire import LaunchJob, RawJob
from tests.executor.workflows import launch


def delivered(message_id: str) -> HeldJob:
    job = launch(1)
    message = Received(f"ack-{message_id}", job.encode(), {}, message_id, 0.0, 1)
    lease: Any = SimpleNamespace()
    return HeldJob(job, message, lease)


def test_all_events_about_a_job_name_its_pool() -> None:
    launched = delivered("1")
    launched.job = launch(1, pool="gpu")
    assert launched.event_fields()["pool"] == "gpu"
    for attributes, pool in (({"pool": "gpu"}, "gpu"), ({}, "default")):
        raw = delivered("2")
        raw.job = RawJob(executable="true")
        raw.message = Received("ack", b"", attributes, "2", 0.0, 1)
        assert raw.event_fields()["pool"] == pool


def test_a_job_that_was_passed_on_does_not_take_its_copy_along() -> None:
    jobs, first, copy = HeldJobs(), delivered("first"), delivered("copy")
    assert isinstance(first.job, LaunchJob)
    jobs.add(first)
    first.passed_on = True
    jobs.add(copy)
    jobs.remove(first)
    assert jobs.find(key_of(copy.job, copy.message)) is copy
    jobs.remove(copy)
    assert jobs.wait_until_none(1.0)
