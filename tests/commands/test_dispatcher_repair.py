"""`portfire dispatcher repair` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fireworks import LaunchPad

from dispatcher.journal import Holder
from dispatcher.roster import Roster
from dispatcher.stored_workflow import WorkflowStore
from tests.commands.programs import Ended, portfire
from tests.faults import tasks
from tests.faults.ledger import check_consistent
from tests.faults.site import REPOSITORY, Site

_DRIVER = str(REPOSITORY / "tests" / "faults" / "killing_dispatcher.py")
_OWNER = "portfire/faults/default"


@pytest.fixture
def directory(launchpad: LaunchPad, tmp_path: Path) -> Path:
    """With the LaunchPad's file in it."""
    launchpad.to_file(str(tmp_path / "my_launchpad.yaml"))
    return tmp_path


def _repair(directory: Path, *flags: str) -> Ended:
    ended = portfire(directory, "dispatcher", "repair", "-l", "my_launchpad.yaml", *flags)
    # It may tell there, as a dispatcher would, of what it does.
    assert "portfire: " not in ended.errors
    assert "Traceback" not in ended.errors
    return ended


def _locked(launchpad: LaunchPad) -> int:
    return int(launchpad.workflows.count_documents({"locked": True}))


def test_what_a_killed_dispatcher_was_at_is_finished(launchpad: LaunchPad, tmp_path: Path) -> None:
    log = tmp_path / "log"
    launchpad.add_wf(tasks.growing(log))
    with Site(tmp_path, launchpad) as site:
        site.start_broker()
        site.start_executor(threads=2)
        point = "dispatcher.locked_workflow:write_documents"
        killed = site.start_dispatcher(driver=[_DRIVER, point, "before", "1"])
        assert killed.wait() == -9, killed.said
        dry = _repair(tmp_path, "--dry-run")
        assert dry.code == 1
        assert "is locked by a dead dispatcher: left as it is" in dry.output
        assert _locked(launchpad) == 1
        mended = _repair(tmp_path)
        assert mended.code == 0
        assert "dead dispatcher: finished or undone, and unlocked" in mended.output
        check_consistent(launchpad)
        # One of the parents, or both.
        added = launchpad.fireworks.count_documents({"name": {"$regex": "^addition"}})
        assert launchpad.fireworks.find_one({"name": "join"})["spec"]["count"] == added > 0
        assert _repair(tmp_path).output.startswith("nothing is locked")


def test_what_a_living_dispatcher_has_in_hand_is_left_alone(
    launchpad: LaunchPad, directory: Path
) -> None:
    launchpad.add_wf(tasks.firework(directory / "log", "it"))
    roster = Roster(launchpad, _OWNER)
    roster.join()
    WorkflowStore(launchpad, Holder(_OWNER, roster.instance)).lock(1)
    ended = _repair(directory)
    assert (ended.code, _locked(launchpad)) == (0, 1)
    assert ended.output == "nothing is locked by a dead process, unpublished or out of date\n"
    roster.leave()
    assert "unlocked" in _repair(directory).output
    assert _locked(launchpad) == 0


def test_a_lock_that_lpad_left_is_broken_after_a_while_or_by_force(
    launchpad: LaunchPad, directory: Path
) -> None:
    launchpad.add_wf(tasks.firework(directory / "log", "it"))
    for flags, told in ((("--after", "0.5"), "for 0.5 s at least"), (("--force",), "FireWorks'")):
        launchpad.workflows.update_one({}, {"$set": {"locked": True}})
        dry = _repair(directory, *flags, "--dry-run")
        assert (dry.code, _locked(launchpad)) == (1, 1)
        mended = _repair(directory, *flags)
        assert (mended.code, _locked(launchpad)) == (0, 0)
        assert told in mended.output
        assert "brought up to date and unlocked" in mended.output


def test_a_claim_that_nobody_published_is_ready_again(launchpad: LaunchPad, tmp_path: Path) -> None:
    launchpad.add_wf(tasks.firework(tmp_path / "log", "it"))
    with Site(tmp_path, launchpad) as site:
        site.start_broker()
        point = "dispatcher.outbox:Outbox.publish_jobs"
        killed = site.start_dispatcher(driver=[_DRIVER, point, "before", "1"])
        assert killed.wait() == -9, killed.said
    mended = _repair(tmp_path)
    assert mended.code == 0
    assert "was claimed and never published; no dispatcher of pool default lives" in mended.output
    assert launchpad.fireworks.find_one({})["state"] == "READY"
    check_consistent(launchpad)
