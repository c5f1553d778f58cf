"""Batches of updates are settled while they are applied, and taken in measure."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from fireworks import LaunchPad, Workflow

from dispatcher.announcements import Announcements
from dispatcher.applier import Applier
from dispatcher.counts import Counts
from dispatcher.in_flight import InFlightTable
from dispatcher.outbox import Outbox
from dispatcher.receiver import Delivery, Inbox
from dispatcher.settlement import Settlement
from events.publisher import EventPublisher
from messaging.names import Names
from messaging.pubsub import PubSub, Received
from tests.dispatcher.workbench import Workbench, finished, firework
from tests.waiting import wait_until


class _RecordingPubSub(PubSub):
    """Acknowledges nothing; remembers how many at a time."""

    def __init__(self) -> None:
        super().__init__("tests", "127.0.0.1:1")
        self.acknowledged: list[int] = []

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        assert subscription == "updates"
        self.acknowledged.append(len(ack_ids))


def _delivery(number: int, data: bytes = b"") -> Delivery:
    received = Received(
        ack_id=str(number),
        data=data,
        attributes={"pool": "default"},
        message_id=str(number),
        publish_time=0.0,
        delivery_attempt=1,
    )
    return Delivery("updates", received)


def test_many_updates_are_acked_before_all_are_applied(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(Workflow([firework("it")]))
    [claim] = bench.claim()
    end = finished(claim).encode()
    pubsub = _RecordingPubSub()
    with pubsub:
        names, table = Names("tests"), InFlightTable()
        outbox = Outbox(pubsub, names)
        announcements = Announcements(launchpad, EventPublisher(pubsub, names, "dispatcher"))
        settlement = Settlement(pubsub)
        applier = Applier(
            settlement,
            names,
            "default",
            bench.updates,
            table,
            outbox,
            Counts(),
            announcements,
            on_loss=lambda: None,
        )
        with settlement:
            applier.apply([_delivery(number, end) for number in range(450)])
        announcements.close()
        assert pubsub.acknowledged == [200, 200, 50]


def test_an_inbox_takes_no_more_than_can_be_applied_soon() -> None:
    inbox = Inbox()
    inbox.put([_delivery(number) for number in range(1000)])
    more = threading.Thread(target=inbox.put, args=([_delivery(1000)],))
    more.start()
    assert len(inbox.take()) == 1000
    more.join(10.0)
    wait_until(lambda: len(inbox) == 1, what="the one that had to wait")
