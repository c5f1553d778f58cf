"""A workflow's links and states in memory, so that ending one of its jobs need not read them all.

The rules are those of FireWorks' ``Workflow.refresh`` and ``Workflow.state``, kept up to date by
counting instead of looking at every Firework again: each question costs the same in a workflow of
ten and of ten thousand Fireworks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bson import ObjectId

#: Field of a workflow document that says which of our writes was its last. Whatever FireWorks
#: writes replaces the document, and so removes it.
SEAL = "portfire_seal"
#: A Firework in one of these is neither waiting nor able to run any more.
_OVER = frozenset({"COMPLETED", "FIZZLED", "DEFUSED", "ARCHIVED", "PAUSED"})


class WorkflowCopy:
    """What one workflow document said when it bore `seal`, and what was changed since.

    Not thread-safe.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.id: ObjectId = document["_id"]
        self.name = str(document.get("name", ""))
        self.seal: str | None = document.get(SEAL)
        self.children = {int(fw_id): list(ids) for fw_id, ids in document["links"].items()}
        self.states: dict[int, str] = {}
        #: What changed since the last `sealed`.
        self.changed: dict[int, str] = {}
        #: What FireWorks makes of the FIZZLED Fireworks that are there. It depends on their
        #: children's specs, which may change at any time: to be found out for each write.
        self.fizzled_state: str | None = None
        #: The FIZZLED Fireworks.
        self.fizzled: set[int] = set()
        self._counts: Counter[str] = Counter()
        #: By Firework: parents that are not COMPLETED, and parents that are not FIZZLED either.
        self._unfinished: Counter[int] = Counter()
        self._open: Counter[int] = Counter()
        self._open_leaves = 0
        for children in self.children.values():
            self._unfinished.update(children)
            self._open.update(children)
            self._open_leaves += not children
        for fw_id, state in document["fw_states"].items():
            self._enter(int(fw_id), state)
        self.stored_state = str(document["state"])

    @property
    def fw_ids(self) -> frozenset[int]:
        """All its Fireworks."""
        return frozenset(self.states)

    def set_state(self, fw_id: int, state: str) -> None:
        """A Firework has this state now."""
        if self.states.get(fw_id) == state:
            return
        if "FIZZLED" in (state, self.states.get(fw_id)):
            self.fizzled_state = None
        self._leave(fw_id)
        self._enter(fw_id, state)
        self.changed[fw_id] = state

    def may_end_plainly(self, fw_id: int) -> bool:
        """Whether its end concerns nothing but its own state and WAITING children."""
        return self._unfinished[fw_id] == 0 and all(
            self.states[child] == "WAITING" for child in self.children[fw_id]
        )

    def freed_by(self, fw_id: int) -> list[int]:
        """Children that wait for no other parent than FIZZLED ones."""
        return [child for child in self.children[fw_id] if self._open[child] == 0]

    def has_fizzled_parent(self, fw_id: int) -> bool:
        """Whether a parent is FIZZLED, of one that `freed_by` named."""
        return self._unfinished[fw_id] > 0

    @property
    def is_over(self) -> bool:
        """Whether nothing in it runs, waits or may be claimed."""
        return sum(self._counts[state] for state in _OVER) == len(self.states)

    @property
    def state(self) -> str | None:
        """The workflow's state, as FireWorks' ``Workflow.state``; None: see `fizzled_state`."""
        counts = self._counts
        if self._open_leaves == 0:
            return "COMPLETED"
        if counts["ARCHIVED"] == len(self.states):
            return "ARCHIVED"
        for state in ("DEFUSED", "PAUSED"):
            if counts[state]:
                return state
        if counts["FIZZLED"]:
            return self.fizzled_state
        if counts["COMPLETED"] or counts["RUNNING"]:
            return "RUNNING"
        return "RESERVED" if counts["RESERVED"] else "READY"

    def sealed(self, seal: str | None) -> None:
        """What changed has been written, under this seal."""
        self.seal = seal
        self.stored_state = self.state or self.stored_state
        self.fizzled_state = None
        self.changed = {}

    def _enter(self, fw_id: int, state: str) -> None:
        self.states[fw_id] = state
        if state == "FIZZLED":
            self.fizzled.add(fw_id)
        self._counts[state] += 1
        self._count(fw_id, state, -1)

    def _leave(self, fw_id: int) -> None:
        state = self.states[fw_id]
        self.fizzled.discard(fw_id)
        self._counts[state] -= 1
        self._count(fw_id, state, 1)

    def _count(self, fw_id: int, state: str, step: int) -> None:
        """Count a Firework out of (-1), or back into (1), what its children wait for."""
        if state not in ("COMPLETED", "FIZZLED"):
            return
        children = self.children.get(fw_id, [])
        for child in children:
            self._open[child] += step
            if state == "COMPLETED":
                self._unfinished[child] += step
        if not children and state == "COMPLETED":
            self._open_leaves += step
