"""A broker, a MongoDB or a topic that goes away under the running daemons."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fireworks import LaunchPad

from messaging.pubsub import PubSub
from tests.faults import tasks
from tests.faults.ledger import check_completed_once, check_consistent, states, wait_for_all
from tests.faults.site import LEASE_SECONDS, Site
from tests.services.mongodb import MongoServer
from tests.waiting import wait_until


def test_after_a_broker_was_killed_and_started_again_everything_completes_once(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    dispatcher = site.start_dispatcher(max_in_flight=6)
    executors = [site.start_executor(threads=2) for _ in range(2)]
    launchpad.add_wf(tasks.fan(log, width=18, seconds=0.3))
    wait_until(lambda: len(tasks.ended(log)) > 4, what="the middle of the workflow")
    site.kill_broker()
    site.start_broker()
    wait_for_all(launchpad, LEASE_SECONDS + 30)
    check_completed_once(launchpad)
    assert set(tasks.ended(log)) == set(states(launchpad))
    assert all(daemon.is_alive for daemon in [dispatcher, *executors])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_after_mongodb_was_away_the_dispatcher_goes_on(
    tmp_path: Path, log: Path, number: signal.Signals
) -> None:
    with MongoServer() as server:
        address = server.address
        launchpad = LaunchPad(address.host, address.port, "faults", strm_lvl="CRITICAL")
        launchpad.reset("", require_password=False)
        with Site(tmp_path, launchpad) as site:
            site.start_broker()
            dispatcher = site.start_dispatcher(max_in_flight=6)
            site.start_executor(threads=2)
            launchpad.add_wf(tasks.fan(log, width=18, seconds=0.1))
            wait_until(lambda: len(tasks.ended(log)) > 4, what="the middle of the workflow")
            server.stop() if number == signal.SIGTERM else server.kill()
            assert dispatcher.is_alive
            server.start()
            wait_for_all(launchpad, 45)
            check_completed_once(launchpad)
            assert dispatcher.is_alive
        launchpad.connection.close()


@pytest.mark.parametrize("topic", ["jobs", "updates", "control", "events"])
def test_a_deleted_topic_is_made_again_and_nothing_is_lost(
    site: Site, launchpad: LaunchPad, log: Path, topic: str
) -> None:
    dispatcher = site.start_dispatcher(max_in_flight=6)
    executor = site.start_executor(threads=2)
    launchpad.add_wf(tasks.fan(log, width=12, seconds=0.2))
    wait_until(lambda: len(tasks.ended(log)) > 3, what="the middle of the workflow")
    with PubSub("portfire-local", site.address) as pubsub:
        pubsub.delete_topic(getattr(site.names, topic))
        wait_for_all(launchpad, LEASE_SECONDS + 30)
        check_completed_once(launchpad)
        wait_until(
            lambda: pubsub.topic_exists(getattr(site.names, topic)), what=f"the topic {topic}"
        )
    assert dispatcher.is_alive
    assert executor.is_alive
    check_consistent(launchpad)
