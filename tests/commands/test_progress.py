"""The records of a run, however its events arrive."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest

from commands.progress import Monitor
from events.subscriber import subscribe
from events.types import Event, make_event
from messaging.broker import Broker
from messaging.pubsub import Outgoing
from messaging.settings import PubSubSettings
from tests.waiting import wait_until


def _ended(executor: str, timestamp: float, **fields: Any) -> Event:
    about = {"type": "job.finished", "id": "job-1", "name": "it", "executor": executor}
    return make_event({**about, "timestamp": timestamp, "seq": 1, **fields})


#: As the executor knows it, and the dispatcher, who could not apply its FWAction.
_COMPLETED = _ended("vm-1", 10.0, state="COMPLETED", thread=1)
_FIZZLED = _ended("dispatcher", 10.1, state="FIZZLED", reason="cannot be applied")


@pytest.mark.parametrize("order", list(itertools.permutations([_COMPLETED, _FIZZLED])))
def test_the_last_word_on_a_job_counts_whichever_comes_first(
    broker: Broker, order: tuple[Event, ...]
) -> None:
    settings = PubSubSettings(emulator_host=broker.address, prefix="tests")
    seen: list[Event] = []
    monitor = Monitor(subscribe(settings), on_event=seen.append)
    with settings.connect() as pubsub:
        for event in order:
            pubsub.publish(settings.names.events, [Outgoing(event.encode(), event.attributes())])
            wait_until(functools.partial(seen.__contains__, event), what="the event")
        stopped = make_event({"type": "executor.stopped", "executor": "vm-1"})
        pubsub.publish(settings.names.events, [Outgoing(stopped.encode(), stopped.attributes())])
    monitor.finish()
    [record] = monitor.records
    assert (record.state, record.reason, record.thread) == ("FIZZLED", "cannot be applied", 1)
