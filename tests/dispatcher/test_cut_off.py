"""A dispatcher that dies after any of its writes, even half of one, changes nothing in the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest
from fireworks import LaunchPad, Workflow
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from dispatcher.held_launches import Claim
from dispatcher.journal import JOURNAL
from messaging.wire import Finished
from tests.dispatcher.random_workflows import Outcome, Outcomes, random_workflow
from tests.dispatcher.scissors import CutOff, Scissors
from tests.dispatcher.twins import Twins
from tests.dispatcher.workbench import CLAIMANT, Workbench, finished, started

_LONG = os.environ.get("DIFFERENTIAL_EXAMPLES")
_ROUNDS = 3


class Play:
    """Runs the jobs of a LaunchPad in a few rounds; after each cut a new dispatcher does again what
    the dead one was at, as Pub/Sub delivers what was not acked.
    """

    def __init__(self, launchpad: LaunchPad, seed: int, scissors: Scissors | None) -> None:
        self._launchpad = launchpad
        self._seed = seed
        self._scissors = scissors
        self._bench = Workbench(launchpad)

    def run(self) -> None:
        """All rounds."""
        for _ in range(_ROUNDS):
            self._surely(lambda: self._bench.claim())
            claims = self._claims()
            updates = [started(claim) for claim in claims[::2]]
            self._surely(lambda: self._bench.updates.start_all(updates))  # noqa: B023 - at once
            ends = [self._end(claim) for claim in claims]
            self._surely(lambda: self._bench.updates.finish_all(ends))  # noqa: B023 - at once

    def _surely(self, step: Callable[[], object]) -> None:
        try:
            step()
        except CutOff:
            assert self._scissors is not None
            self._scissors.is_dead = False
            self._bench = Workbench(self._launchpad)
            self._bench.store.recover()
            self._bench.updates.settle_ended(CLAIMANT)
            # As the dispatcher does when it adopts what its predecessor had claimed.
            for claim in self._bench.held.load(self._bench.held.ids()):
                if claim.firework is None:
                    self._bench.held.drop_stray(claim)
            step()

    def _claims(self) -> list[Claim]:
        claims = self._bench.held.load(self._bench.held.ids())
        return sorted(claims, key=_name)

    def _end(self, claim: Claim) -> Finished:
        outcome = self._outcome(_name(claim))
        return finished(claim, state=outcome.state, action=outcome.told({}))

    def _outcome(self, name: str) -> Outcome:
        # The same in both runs, in whatever order they end.
        rng = Random(f"{self._seed} {name}")
        return Outcomes(rng, order_matters=False).outcome(name)


def _name(claim: Claim) -> str:
    assert claim.firework is not None
    return str(claim.firework["name"])


def _workflows(seed: int) -> list[Workflow]:
    rng = Random(seed)
    return [random_workflow(rng, f"w{n}", duplicates=False) for n in range(rng.randint(1, 3))]


@pytest.mark.timeout(0 if _LONG else 400)
def test_a_dispatcher_cut_off_anywhere_leaves_what_it_would_have_left(
    make_launchpad: Callable[[], LaunchPad],
) -> None:
    twins = Twins(make_launchpad(), make_launchpad())

    @settings(
        max_examples=int(_LONG or 15),
        derandomize=not _LONG,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32), st.integers(0, 40))
    def cut_after(seed: int, writes: int) -> None:
        twins.clear()
        for workflow in _workflows(seed):
            note(f"{workflow.name}: {workflow.links}")
            twins.add(workflow)
        Play(twins.theirs, seed, None).run()
        scissors = Scissors(twins.ours.name, writes, Random(seed))
        with pytest.MonkeyPatch.context() as patch:
            scissors.install(patch)
            Play(twins.ours, seed, scissors).run()
        twins.compare()
        for name in ("locked", "locked_by"):
            assert twins.ours.workflows.count_documents({name: {"$exists": True}}) == 0
        assert twins.ours.db[JOURNAL].count_documents({}) == 0

    cut_after()
