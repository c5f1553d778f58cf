"""A network that is cut and mended under the running daemons: what was sent merely vanishes.

Nothing closes a connection that is cut, so nobody is told: neither of a request that got no answer,
nor of a message whose ack was lost.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fireworks import LaunchPad

from tests.faults import tasks
from tests.faults.ledger import check_completed_once, states, wait_for_all
from tests.faults.network import Network
from tests.faults.site import LEASE_SECONDS, Site
from tests.services.mongodb import MongoAddress, MongoServer
from tests.waiting import wait_until

#: TCP sends again with growing pauses: after a cut it may be silent for as long as that lasted.
_RECOVERY = 60.0


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of the test's own."""
    with Network() as network:
        yield network


@contextmanager
def opened(address: MongoAddress) -> Iterator[LaunchPad]:
    """A LaunchPad by a connection of its own."""
    launchpad = LaunchPad(address.host, address.port, "faults", strm_lvl="CRITICAL")
    yield launchpad
    launchpad.connection.close()


def cut_for(network: Network, seconds: float) -> None:
    """Cut, wait, and mend: nothing that can be waited for happens meanwhile."""
    network.cut()
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > seconds, seconds + 5, "the end of the cut")
    network.mend()


@contextmanager
def far_mongodb(network: Network) -> Iterator[tuple[MongoAddress, LaunchPad]]:
    """A MongoDB across the network, with an empty LaunchPad on it."""
    with (
        MongoServer(host=network.host, before=network.enter) as server,
        opened(server.address) as launchpad,
    ):
        launchpad.reset("", require_password=False)
        yield server.address, launchpad


def test_after_the_network_to_mongodb_was_cut_the_dispatcher_goes_on(
    network: Network, tmp_path: Path, log: Path
) -> None:
    with far_mongodb(network) as (address, launchpad), Site(tmp_path, launchpad) as site:
        launchpad.add_wf(tasks.fan(log, width=30, seconds=0.1))
        site.start_broker()
        dispatcher = site.start_dispatcher(max_in_flight=6)
        site.start_executor(threads=2)
        wait_until(lambda: len(tasks.ended(log)) > 4, what="the middle of the workflow")
        network.cut()
        # In 10 s, not after TCP's minutes.
        wait_until(lambda: "MongoDB is away" in dispatcher.said, 25.0, "the dispatcher to notice")
        network.mend()
        with opened(address) as fresh:
            wait_for_all(fresh, _RECOVERY)
            check_completed_once(fresh)
            names = set(states(fresh))
        assert dispatcher.is_alive
    runs = Counter(tasks.ended(log))
    assert set(runs) == names
    assert set(runs.values()) == {1}


def test_a_dispatcher_that_is_cut_off_from_mongodb_ends_soon_when_told_to(
    network: Network, tmp_path: Path
) -> None:
    with far_mongodb(network) as (_, launchpad), Site(tmp_path, launchpad) as site:
        site.start_broker()
        dispatcher = site.start_dispatcher()
        wait_until(lambda: "dispatching " in dispatcher.said, what="the dispatcher")
        network.cut()
        dispatcher.send(signal.SIGTERM)
        assert dispatcher.wait(25.0) == 0, dispatcher.said
        network.mend()  # for the test's own client, which says goodbye


def test_after_the_network_to_the_broker_was_cut_for_longer_than_a_lease_all_goes_on(
    network: Network, launchpad: LaunchPad, tmp_path: Path, log: Path
) -> None:
    gate = tmp_path / "gate"
    launchpad.add_wf(tasks.fan(log, width=12, seconds=0.2))
    launchpad.add_wf(tasks.firework(log, "waiting", gate=gate))
    with Site(tmp_path, launchpad, host=network.host) as site:
        site.start_broker(before=network.enter)
        dispatcher = site.start_dispatcher(max_in_flight=6)
        executor = site.start_executor(threads=2)
        wait_until(lambda: "waiting" in tasks.began(log), what="the job that waits")
        cut_for(network, LEASE_SECONDS + 2)
        # Its lease was lost, so it was stopped then, and runs again from the beginning.
        wait_until(lambda: tasks.began(log).count("waiting") == 2, _RECOVERY, "its second run")
        gate.touch()
        wait_for_all(launchpad, _RECOVERY)
        check_completed_once(launchpad)
        assert tasks.ended(log).count("waiting") == 1
        assert dispatcher.is_alive
        assert executor.is_alive
