"""The dispatcher tells executors how much there is to do."""

from __future__ import annotations

from fireworks import Firework, LaunchPad, PyTask, Workflow

from dispatcher.pool_state import PoolStateAnnouncer
from messaging.broker import Broker
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.wire import PoolState, decode_control

NAMES = Names("portfire")
QUERY = {"spec._category": "gpu"}


def family(category: str, children: int) -> Workflow:
    task = PyTask(func="time.sleep", args=[0])
    parent = Firework(task, spec={"_category": category}, fw_id=-1)
    others = [Firework(task, spec={"_category": category}, fw_id=-2 - n) for n in range(children)]
    return Workflow([parent, *others], {parent: others})


def said(pubsub: PubSub) -> list[PoolState]:
    messages = pubsub.pull("listener", 100, 0.2)
    states = [decode_control(message.data) for message in messages]
    if messages:
        pubsub.acknowledge("listener", [message.ack_id for message in messages])
    assert all(isinstance(state, PoolState) for state in states)
    return [state for state in states if isinstance(state, PoolState)]


def test_the_pools_state_is_announced_at_intervals_and_when_it_runs_dry(
    broker: Broker, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(family("gpu", children=3))
    launchpad.add_wf(family("cpu", children=5))
    in_flight: list[int] = [1, 2]
    with PubSub("portfire-local", broker.address) as pubsub:
        announcer = PoolStateAnnouncer(
            pubsub, NAMES, "gpu", launchpad, QUERY, lambda: len(in_flight)
        )
        announcer.announce_when_due(999.0)  # there is no such topic: nothing happens
        pubsub.create_topic(NAMES.control)
        pubsub.create_subscription("listener", NAMES.control)
        announcer.announce_when_due(1000.0)
        assert said(pubsub) == []
        announcer.announce_when_due(1030.0)
        assert said(pubsub) == [PoolState(pool="gpu", ready=1, waiting=3, in_flight=2)]
        in_flight.clear()
        announcer.announce_when_due(1031.0)
        assert said(pubsub) == []
        announcer.announce_when_due(1033.0)
        assert said(pubsub) == [PoolState(pool="gpu", ready=1, waiting=3, in_flight=0)]
        announcer.announce_when_due(1040.0)
        assert said(pubsub) == []


def test_what_waits_for_the_fizzled_is_not_waited_for(broker: Broker, launchpad: LaunchPad) -> None:
    launchpad.add_wf(family("gpu", children=3))
    launchpad.fireworks.update_one({"state": "READY"}, {"$set": {"state": "FIZZLED"}})
    with PubSub("portfire-local", broker.address) as pubsub:
        announcer = PoolStateAnnouncer(pubsub, NAMES, "gpu", launchpad, QUERY, lambda: 0)
        assert announcer.look() == PoolState(pool="gpu", ready=0, waiting=0, in_flight=0)
