"""Which row of the timeline belongs to which slot of which executor."""

from __future__ import annotations

from collections.abc import Iterable

from events.job_run import ExecutorInfo

#: Of executors that are gone; rows without end help nobody.
_MAX_GONE_ROWS = 200
#: Up to so many rows each has its own label; beyond, each executor has one.
_MAX_LABELS = 40

_Slot = tuple[str, str]


class SlotRows:
    """Numbers the slots from 0, top down; a slot keeps its row. Not thread-safe."""

    def __init__(self, executors: Iterable[ExecutorInfo] = ()) -> None:
        """Rows for the slots of `executors`: those that live first, then the last that went."""
        self._rows: dict[_Slot, int] = {}
        self._names: dict[str, str] = {}
        known = list(executors)
        for executor in known:
            if executor.state not in ("stopped", "lost"):
                self.add_executor(executor)
        room = len(self._rows) + _MAX_GONE_ROWS
        for executor in sorted(known, key=lambda item: -item.last_seen):
            if executor.state in ("stopped", "lost") and len(self._rows) < room:
                self.add_executor(executor)

    def __len__(self) -> int:
        return len(self._rows)

    def add_executor(self, executor: ExecutorInfo) -> None:
        """Give its slots rows, where they have none yet."""
        self._names[executor.id] = executor_name(executor)
        # An executor numbers its slots from 1.
        for thread in range(1, (executor.threads or 0) + 1):
            self.row(executor.id, thread)

    def row(self, executor: str, thread: int | str | None) -> int:
        """The row of a slot; a new one at the bottom when it is the first we hear of it."""
        slot = (executor, "" if thread is None else str(thread))
        return self._rows.setdefault(slot, len(self._rows))

    def labels(self) -> dict[int, str]:
        """What to write beside which row."""
        if len(self._rows) <= _MAX_LABELS:
            return {row: self._label(*slot) for slot, row in self._rows.items()}
        first: dict[str, int] = {}
        for (executor, _), row in self._rows.items():
            first[executor] = min(row, first.get(executor, row))
        return {row: self._names.get(executor, executor[:8]) for executor, row in first.items()}

    def _label(self, executor: str, thread: str) -> str:
        name = self._names.get(executor, executor[:8])
        return f"{name} · {thread}" if thread else name


def executor_name(executor: ExecutorInfo) -> str:
    """Short, and enough to find it by: its host and the beginning of its id."""
    short = executor.id[:8]
    return f"{executor.host[:24]} {short}" if executor.host else short
