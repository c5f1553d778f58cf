"""Whatever another dispatcher, or an lpad command, does between two of a dispatcher's calls to
MongoDB: all documents agree in the end, and nothing stays locked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fireworks import LaunchPad, Workflow
from pymongo.collection import Collection

from dispatcher.held_launches import Claim
from dispatcher.workflow_errors import WorkflowBusyError
from tests.dispatcher.workbench import Workbench, finished, firework, released, started

_CALLS = (
    *("find", "find_one", "aggregate", "update_one", "update_many", "replace_one", "bulk_write"),
    *("insert_one", "insert_many", "find_one_and_update", "delete_one", "delete_many"),
)


class Place:
    """A workflow of three, of which "it" and a sibling are READY; "it" has a child."""

    def __init__(self, launchpad: LaunchPad, number: int) -> None:
        self.launchpad = launchpad
        self.ours, self.theirs = Workbench(launchpad), Workbench(launchpad)
        self._names = {name: f"{name} {number}" for name in ("it", "child", "sibling")}
        parent, child, sibling = (firework(name) for name in self._names.values())
        ids = launchpad.add_wf(Workflow([parent, child, sibling], {parent: [child]}))
        self.fw_id: int = self.firework("it")["fw_id"]
        assert len(ids) == 3

    def firework(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.launchpad.fireworks.find_one({"name": self._names[name]})
        return found

    @property
    def workflow(self) -> dict[str, Any]:
        found: dict[str, Any] = self.launchpad.workflows.find_one({"nodes": self.fw_id})
        return found

    def _launches(self, firework: dict[str, Any]) -> list[dict[str, Any]]:
        found = self.launchpad.launches.find({"launch_id": {"$in": firework["launches"]}})
        return list(found)

    def claim(self, bench: Workbench) -> Claim | None:
        """Claim all that is READY; what becomes of "it"."""
        claims = [claim for claim in bench.claim() if claim.fw_id == self.fw_id]
        return claims[0] if claims else None

    def check(self) -> None:
        """The copies of the states are right, launches and Fireworks agree, nothing is locked."""
        workflow = self.workflow
        assert "locked" not in workflow
        assert "locked_by" not in workflow
        for fw_id, state in workflow["fw_states"].items():
            document = self.launchpad.fireworks.find_one({"fw_id": int(fw_id)})
            assert _agree(state, document["state"]), document["name"]
            for launch in self._launches(document):
                # FireWorks' own Rocket, too, leaves it so when its end meets lpad.
                is_withdrawn = document["state"] in ("DEFUSED", "PAUSED")
                assert is_withdrawn or _agree(document["state"], launch["state"])
        assert self.launchpad.db["portfire_journal"].count_documents({}) == 0


def _agree(state: str, other: str) -> bool:
    """Of a job on its way they may differ when its release meets its start: the next start, or its
    end, sets them right.
    """
    return state == other or {state, other} == {"RESERVED", "RUNNING"}


Act = Callable[[Place, Workbench, Claim | None], object]

#: What a dispatcher does to "it", which is claimed, and for a release started, beforehand.
OURS: dict[str, Act] = {
    "claim": lambda place, bench, _: place.claim(bench),
    "start": lambda _, bench, claim: bench.updates.start(started(_known(claim))),
    "release": lambda _, bench, claim: bench.updates.release(released(_known(claim))),
    "complete": lambda _, bench, claim: bench.updates.finish(finished(_known(claim))),
    "fizzle": lambda _, bench, claim: bench.updates.finish(
        finished(_known(claim), state="FIZZLED")
    ),
}
#: What lpad does to it.
LPAD: dict[str, Act] = {
    "defuse": lambda place, _, __: place.launchpad.defuse_fw(place.fw_id),
    "pause": lambda place, _, __: place.launchpad.pause_fw(place.fw_id),
    "rerun": lambda place, _, __: place.launchpad.rerun_fw(place.fw_id),
}


def _known(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


@contextmanager
def _before_call(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]
) -> Iterator[Callable[[], bool]]:
    """Act before the call of this number to MongoDB; gives whether it came to that."""
    left = [number]

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                act()
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in _CALLS:
            patch.setattr(Collection, name, watched(getattr(Collection, name)))
        yield lambda: left[0] < 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ours, theirs)
        for ours in OURS
        for theirs in (*OURS, *LPAD)
        # Of what is not claimed yet nobody can tell anything.
        if ours != "claim" or theirs in ("claim", *LPAD)
    ],
)
def test_all_agree_in_the_end(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch, ours: str, theirs: str
) -> None:
    for number in itertools.count():
        place = Place(launchpad, number)
        claim = None if ours == "claim" else place.claim(place.ours)
        if "release" in (ours, theirs) and claim is not None:
            place.ours.updates.start(started(claim))
        waiting: list[str] = []

        def act(
            place: Place = place, claim: Claim | None = claim, waiting: list[str] = waiting
        ) -> None:
            # Only for what it may do at once: FireWorks itself would wait for minutes.
            if theirs in LPAD and "locked" in place.workflow:
                waiting.append(theirs)
                return
            try:
                {**OURS, **LPAD}[theirs](place, place.theirs, claim)
            except WorkflowBusyError:
                waiting.append(theirs)

        with _before_call(monkeypatch, number, act) as acted:
            try:
                OURS[ours](place, place.ours, claim)
            except WorkflowBusyError:
                waiting.append(ours)
        for name in waiting:  # as a dispatcher does, which is told again
            {**OURS, **LPAD}[name](place, place.theirs, claim)
        place.check()
        if not acted():
            assert number > 2
            return
