"""Whatever happens: the LaunchPad is as FireWorks alone would have left it.

Claims and updates are the dispatcher's, in batches, on one LaunchPad, and FireWorks' own API's, one
by one, on another. ``DIFFERENTIAL_EXAMPLES=2000 pytest --timeout 0`` looks for longer, each time
somewhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from fireworks import LaunchPad
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.dispatcher.random_workflows import Outcomes, random_workflow
from tests.dispatcher.twins import Job, Twins

_LONG = os.environ.get("DIFFERENTIAL_EXAMPLES")
_SETTINGS = settings(
    max_examples=int(_LONG or 20),
    stateful_step_count=14,
    derandomize=not _LONG,
    # A failure names its steps; to shrink them takes minutes.
    phases=[Phase.generate],
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
#: Not ``st.randoms``, which prefers zeros: then all workflows are single Fireworks.
_rngs = st.integers(0, 2**32).map(Random)

#: lpad's commands, by how often; each with its arguments.
_COMMANDS: list[tuple[str, Callable[[Random], list[object]]]] = [
    ("pause_fw", lambda _: []),
    ("resume_fw", lambda _: []),
    ("resume_fw", lambda _: []),
    ("defuse_fw", lambda _: []),
    ("reignite_fw", lambda _: []),
    ("reignite_fw", lambda _: []),
    ("rerun_fw", lambda _: []),
    ("rerun_fw", lambda _: []),
    ("set_priority", lambda rng: [rng.randint(0, 5)]),
    ("pause_wf", lambda _: []),
    ("reignite_wf", lambda _: []),
    ("defuse_wf", lambda rng: [rng.random() < 0.5]),
    ("archive_wf", lambda _: []),
    ("delete_wf", lambda _: []),
]


class Machine(RuleBasedStateMachine):
    """What may happen to a LaunchPad."""

    def __init__(self, twins: Twins) -> None:
        super().__init__()
        self.twins = twins
        self.added = 0

    @initialize(rng=_rngs)
    def begin(self, rng: Random) -> None:
        self.twins.clear(claims_freed=rng.random() < 0.5)
        self.add(rng)
        self.claim(rng)

    @rule(rng=_rngs)
    def add(self, rng: Random) -> None:
        if self.added < 4:
            workflow = random_workflow(rng, f"w{self.added}")
            self.added += 1
            note(f"add {workflow.name}: {workflow.links}")
            self.twins.add(workflow)

    @rule(rng=_rngs)
    def claim(self, rng: Random) -> None:
        jobs = self.twins.claim(rng.choice([1, 2, 3, 100]))
        note(f"claimed {[job.name for job in jobs]}")

    @precondition(lambda self: self.twins.jobs)
    @rule(rng=_rngs)
    def start(self, rng: Random) -> None:
        jobs = self._some(rng)
        note(f"start {[job.name for job in jobs]}")
        self.twins.start(jobs)

    @precondition(lambda self: self.twins.jobs)
    @rule(rng=_rngs)
    def ping(self, rng: Random) -> None:
        job = rng.choice(list(self.twins.jobs.values()))
        note(f"ping {job.name}")
        self.twins.ping(job, {"_task_n": rng.randint(0, 2)})

    @precondition(lambda self: self.twins.jobs)
    @rule(rng=_rngs)
    def finish(self, rng: Random) -> None:
        self._finish(rng)

    @precondition(lambda self: self.twins.jobs)
    @rule(rng=_rngs)
    def finish_and_claim(self, rng: Random) -> None:
        self._finish(rng)
        self.claim(rng)

    @precondition(lambda self: self.twins.names())
    @rule(rng=_rngs)
    def command(self, rng: Random) -> None:
        command, arguments = rng.choice(_COMMANDS)
        name, given = rng.choice(self.twins.names()), arguments(rng)
        note(f"lpad {command} {name} {given}")
        self.twins.lpad(command, name, *given)

    @precondition(lambda self: self.twins.names())
    @rule(rng=_rngs)
    def update_spec(self, rng: Random) -> None:
        names = self.twins.names()
        some = rng.sample(names, rng.randint(1, min(3, len(names))))
        changes: list[dict[str, Any]] = [{"told": "by hand"}, {"_allow_fizzled_parents": True}]
        fields = rng.choice(changes)
        note(f"lpad update_fws {some} {fields}")
        self.twins.update_spec(some, fields)

    @precondition(lambda self: self.twins.names())
    @rule(rng=_rngs)
    def append(self, rng: Random) -> None:
        name = rng.choice(self.twins.names())
        self.added += 1
        new = Outcomes(rng).new_workflow(f"{name}^{self.added}")
        note(f"lpad append_wflow {name}: {[fw['name'] for fw in new['fws']]}")
        self.twins.append([name], new, rng.random() < 0.5)

    @invariant()
    def same(self) -> None:
        self.twins.compare()

    def _some(self, rng: Random) -> list[Job]:
        jobs = list(self.twins.jobs.values())
        return rng.sample(jobs, rng.randint(1, len(jobs)))

    def _finish(self, rng: Random) -> None:
        jobs = self._some(rng)
        # What was taken away before it began is not begun any more.
        self.twins.start(jobs)
        outcomes = Outcomes(rng)
        names = self.twins.names()
        ending = []
        for job in jobs:
            if job.started:
                family = [name for name in names if name.split(".")[0] == job.name.split(".")[0]]
                others = [name for name in family if name != job.name]
                outcome = outcomes.outcome(job.name, others, shared=job.may_be_shared)
                told = {key: value for key, value in outcome.action.items() if value}
                note(f"finish {job.name}: {outcome.state} {told}")
                ending.append((job, outcome))
        self.twins.finish(ending)


@pytest.fixture
def twins(make_launchpad: Callable[[], LaunchPad]) -> Twins:
    return Twins(make_launchpad(), make_launchpad())


@pytest.mark.timeout(0 if _LONG else 400)
def test_the_dispatcher_leaves_what_fireworks_leaves(twins: Twins) -> None:
    def machine() -> Machine:
        return Machine(twins)

    run_state_machine_as_test(machine, settings=_SETTINGS)  # type: ignore[arg-type]  # it calls it
