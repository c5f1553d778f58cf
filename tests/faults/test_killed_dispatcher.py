"""A dispatcher killed at its most delicate points; its successor must lose and repeat nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from fireworks import LaunchPad

from tests.faults import tasks
from tests.faults.ledger import check_completed_once, wait_for_all
from tests.faults.site import LEASE_SECONDS, REPOSITORY, Site

_DRIVER = str(REPOSITORY / "tests" / "faults" / "killing_dispatcher.py")
_LOCKED = "dispatcher.locked_workflow"
_COMMIT = "dispatcher.workflow_batch:WorkflowBatch.commit"
_REFRESH = "dispatcher.refresh:Refresher._refresh"

CLAIMING = {
    "a launch written, its Firework not yet": ("pymongo.collection:Collection.insert_many", 1),
    "Fireworks claimed, the workflow not yet": (_COMMIT, 1),
    "claimed, not published": ("dispatcher.outbox:Outbox.publish_jobs", 1),
    "published, not recorded": ("dispatcher.claims:Claims.record_published", 1),
    "published later, not recorded": ("dispatcher.claims:Claims.record_published", 2),
}
APPLYING = {
    "an update taken, nothing written": ("dispatcher.updates:Updates.finish_all", 1),
    "the launch written, the workflow not": (_REFRESH, 1),
    "locked and refreshed in memory": (f"{_LOCKED}:LockedWorkflow.commit", 1),
    "ids given to additions": (f"{_LOCKED}:write_journal", 1),
    "journal written, documents not": (f"{_LOCKED}:write_documents", 1),
    "Fireworks written, the workflow not": (
        "pymongo.collection:Collection.replace_one@workflows",
        1,
    ),
    "documents written, journal not cleared": (f"{_LOCKED}:clear_journal", 1),
    "all written, the update not acked": ("messaging.pubsub:PubSub.acknowledge", 1),
    "a second journal half-way": (f"{_LOCKED}:write_documents", 2),
    # Three generations have to be claimed, so there is a third.
    "a later workflow write of many": (_COMMIT, 3),
}
POINTS = {**CLAIMING, **APPLYING}


@pytest.mark.parametrize("where", POINTS)
def test_a_killed_dispatcher_loses_and_repeats_nothing(
    site: Site, launchpad: LaunchPad, log: Path, where: str
) -> None:
    launchpad.add_wf(tasks.growing(log))
    site.start_executor(threads=2)
    point, number = POINTS[where]
    when = "after" if point.endswith("insert_many") else "before"
    first = site.start_dispatcher(driver=[_DRIVER, point, when, str(number)])
    assert first.wait() == -9, first.said
    site.start_dispatcher()
    wait_for_all(launchpad, LEASE_SECONDS + 20)
    check_completed_once(launchpad)
    join = launchpad.fireworks.find_one({"name": "join"})
    assert sorted(join["spec"]["grown"]) == ["a", "b"]
    assert join["spec"]["count"] == 2
    names = [fw["name"] for fw in launchpad.fireworks.find({})]
    assert len(names) == len(set(names)) == 7


def test_a_dispatcher_killed_again_and_again_makes_progress(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    launchpad.add_wf(tasks.growing(log))
    site.start_executor(threads=2)
    # The second one dies of carrying out what the first one left.
    for point in (f"{_LOCKED}:write_documents", "dispatcher.journal:clear_journal"):
        dispatcher = site.start_dispatcher(driver=[_DRIVER, point, "before", "1"])
        assert dispatcher.wait() == -9, dispatcher.said
    site.start_dispatcher()
    wait_for_all(launchpad, 2 * LEASE_SECONDS + 20)
    check_completed_once(launchpad)


def test_a_dispatcher_killed_with_its_broker_loses_nothing(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    launchpad.add_wf(tasks.growing(log))
    executor = site.start_executor(threads=2)
    first = site.start_dispatcher(driver=[_DRIVER, _REFRESH, "before", "1"])
    assert first.wait() == -9, first.said
    site.kill_broker()
    executor.kill()
    site.start_broker()
    site.start_executor(threads=2)
    site.start_dispatcher()
    wait_for_all(launchpad, LEASE_SECONDS + 20)
    check_completed_once(launchpad)
