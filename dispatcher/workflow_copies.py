"""The workflows that a dispatcher works on, remembered until there are too many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from dispatcher.workflow_copy import WorkflowCopy

#: Fireworks whose states are kept at most, in all workflows together: some 100 MB.
_MOST_FIREWORKS = 300_000


class WorkflowCopies:
    """Copies by workflow and by Firework; those longest unused go first. Not thread-safe."""

    def __init__(self, most_fireworks: int = _MOST_FIREWORKS) -> None:
        self._most = most_fireworks
        self._copies: OrderedDict[Any, WorkflowCopy] = OrderedDict()
        self._by_fw_id: dict[int, WorkflowCopy] = {}

    def find(self, fw_id: int) -> WorkflowCopy | None:
        """The copy of a Firework's workflow."""
        copy = self._by_fw_id.get(fw_id)
        if copy is not None:
            self._copies.move_to_end(copy.id)
        return copy

    def keep(self, copies: Iterable[WorkflowCopy]) -> None:
        """Remember these; of others as many as there is room for."""
        for copy in copies:
            self.forget(copy.id)
            self._copies[copy.id] = copy
            self._by_fw_id.update(dict.fromkeys(copy.states, copy))
        while len(self._by_fw_id) > self._most and len(self._copies) > 1:
            self.forget(next(iter(self._copies)))

    def forget(self, workflow_id: Any) -> None:
        """It is over, or not what it was."""
        copy = self._copies.pop(workflow_id, None)
        if copy is not None:
            for fw_id in copy.states:
                self._by_fw_id.pop(fw_id, None)

    @property
    def workflow_ids(self) -> list[Any]:
        """Whose copies are here."""
        return list(self._copies)

    def clear(self) -> None:
        """Forget all."""
        self._copies.clear()
        self._by_fw_id.clear()
