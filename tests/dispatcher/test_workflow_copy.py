"""A `WorkflowCopy` counts what FireWorks' `Workflow` finds by looking at every Firework."""

from __future__ import annotations

from random import Random
from typing import Any

from bson import ObjectId
from fireworks import Firework, FWAction, FWorker, Workflow
from fireworks.core.firework import Launch
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.workflow_copy import WorkflowCopy
from tests.dispatcher.random_workflows import random_dag
from tests.dispatcher.workbench import NOTHING, State

_STATES = [
    *("WAITING", "WAITING", "READY", "RESERVED", "RUNNING", "RUNNING", "COMPLETED", "COMPLETED"),
    *("FIZZLED", "DEFUSED", "PAUSED", "ARCHIVED"),
]
_rngs = st.integers(0, 2**32).map(Random)


class Model:
    """Links and states in plain dictionaries, and FireWorks' opinion of them."""

    def __init__(self, rng: Random) -> None:
        self.size, pairs = random_dag(rng)
        self.links: dict[int, list[int]] = {n: [] for n in range(1, self.size + 1)}
        for parent, child in pairs:
            self.links[parent + 1].append(child + 1)
        one = rng.choice(_STATES)
        alike = rng.random() < 0.3
        self.states = {n: one if alike else rng.choice(_STATES) for n in self.links}
        self.allowing = {n: rng.random() < 0.5 for n in self.links}

    def workflow(self, ended: int | None = None, state: State = "COMPLETED") -> Workflow:
        """FireWorks' own; the launch of `ended` has just ended."""
        fireworks = []
        for n in self.links:
            launches = [_launch(n, state)] if n == ended else []
            spec = {"_allow_fizzled_parents": self.allowing[n]}
            fireworks.append(
                Firework(NOTHING, spec, fw_id=n, state=self.states[n], launches=launches)
            )
        return Workflow(fireworks, {n: list(children) for n, children in self.links.items()})

    def document(self) -> dict[str, Any]:
        """As the LaunchPad has it."""
        document: dict[str, Any] = {"_id": ObjectId(), **self.workflow().to_db_dict()}
        return document


def _launch(fw_id: int, state: State) -> Launch:
    return Launch(state, "/jobs", FWorker(), "host", "ip", action=FWAction(), fw_id=fw_id)


@settings(max_examples=150, deadline=None)
@given(_rngs)
def test_its_state_is_that_of_fireworks_whatever_changes(rng: Random) -> None:
    model = Model(rng)
    copy = WorkflowCopy(model.document())
    for _ in range(8):
        theirs = model.workflow().state
        if copy.state is None:
            assert theirs in ("FIZZLED", "RUNNING")
            # What needs the specs is asked of the database, for each write.
            copy.fizzled_state = theirs
        assert copy.state == theirs
        fizzled = [n for n, state in model.states.items() if state == "FIZZLED"]
        assert sorted(copy.fizzled) == fizzled
        active = {"WAITING", "READY", "RESERVED", "RUNNING"} & set(model.states.values())
        assert copy.is_over == (not active)
        fw_id, state = rng.randint(1, model.size), rng.choice(_STATES)
        model.states[fw_id] = state
        copy.set_state(fw_id, state)


@settings(max_examples=300, deadline=None)
@given(_rngs)
def test_what_ends_plainly_ends_as_fireworks_would_end_it(rng: Random) -> None:
    model = Model(rng)
    fw_id = _make_one_run(model, rng)
    copy = WorkflowCopy(model.document())
    ended: State = rng.choice(["COMPLETED", "FIZZLED"])
    is_plain = copy.may_end_plainly(fw_id)
    copy.set_state(fw_id, ended)
    freed = copy.freed_by(fw_id)
    reporting = {n for n in freed if copy.has_fizzled_parent(n) and model.allowing[n]}
    for child in set(freed) - reporting:
        if not copy.has_fizzled_parent(child):
            copy.set_state(child, "READY")
    workflow = model.workflow(fw_id, ended)
    workflow.refresh(fw_id)
    if is_plain and not reporting:
        assert copy.states == workflow.fw_states
        assert {n: fw.state for n, fw in workflow.id_fw.items()} == workflow.fw_states
    elif is_plain:
        # They are told of their FIZZLED parents: FireWorks' own business.
        assert all(workflow.fw_states[child] == "READY" for child in reporting)


def _make_one_run(model: Model, rng: Random) -> int:
    """Let one run whose parents, mostly, are COMPLETED and whose children, mostly, wait."""
    fw_id = rng.randint(1, model.size)
    model.states[fw_id] = "RUNNING"
    for n, children in model.links.items():
        if fw_id in children and rng.random() < 0.9:
            model.states[n] = "COMPLETED"
        if n in model.links[fw_id] and rng.random() < 0.9:
            model.states[n] = "WAITING"
        elif set(children) & set(model.links[fw_id]) and n != fw_id and rng.random() < 0.6:
            model.states[n] = rng.choice(["COMPLETED", "COMPLETED", "FIZZLED"])
    return fw_id
