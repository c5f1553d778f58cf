"""Claims are published once each, also when Pub/Sub goes away half-way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fireworks import LaunchPad, Workflow

from dispatcher.courier import Courier
from dispatcher.in_flight import InFlightTable
from dispatcher.outbox import Outbox
from messaging.errors import ServiceError
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.wire import LaunchJob
from tests.dispatcher.workbench import Workbench, firework


class _FailingOutbox(Outbox):
    """Publishes nothing; the second request fails."""

    def __init__(self, pubsub: PubSub) -> None:
        super().__init__(pubsub, Names("tests"))
        self.published: list[str] = []
        self._requests = 0

    def publish_jobs(self, jobs: Sequence[LaunchJob]) -> list[str]:
        self._requests += 1
        if self._requests == 2:
            raise ServiceError("Pub/Sub is away")
        self.published += [job.job for job in jobs]
        return [f"message-{job.launch_id}" for job in jobs]


def test_what_was_published_before_a_failure_is_not_published_again(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(Workflow([firework(str(number)) for number in range(501)]))
    table = InFlightTable()
    with PubSub("tests", "127.0.0.1:1") as pubsub:
        outbox = _FailingOutbox(pubsub)
        courier = Courier(bench.claims, outbox, table, 5, lambda *_: True)
        courier.take(bench.claims.claim(501))
        with pytest.raises(ServiceError):
            courier.deliver()
        assert (len(table), len(courier)) == (500, 1)
        published = {"state_history.0.reservation_id": {"$exists": True}}
        assert launchpad.launches.count_documents(published) == 500
        courier.deliver()
    assert len(outbox.published) == len(set(outbox.published)) == 501
    assert (len(table), len(courier)) == (501, 0)
