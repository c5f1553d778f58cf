"""What `portfire gce` says: a line while it waits, then one for each VM."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from fleet.changes import Progress
    from fleet.vms import Outcome, Vm


@contextmanager
def progress_line(what: str) -> Iterator[Progress]:
    """On a terminal (standard error) says `what` goes on and how far it is; else nothing."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with Console(stderr=True).status(what) as status:
        yield lambda done, total: status.update(f"{what}: {done} of {total}")


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """On a terminal (standard error) shows what it is told last; else nothing."""
    if not sys.stderr.isatty():
        yield lambda _what: None
        return
    with Console(stderr=True).status("") as status:
        yield status.update


def report(done: str, not_done: str, outcomes: Sequence[Outcome], *, as_json: bool) -> int:
    """A line for each VM: what is well on standard output, the rest on standard error.

    Returns the exit code: 1 when something is not well.
    """
    failed = 0
    for outcome in outcomes:
        failed += not outcome.ok
        if as_json:
            print(json.dumps(outcome.to_dict()))
        elif outcome.ok:
            print(f"{done}: {outcome}")
        else:
            print(f"portfire: {not_done}: {outcome}", file=sys.stderr)
    return 1 if failed else 0


def table(vms: Sequence[Vm]) -> None:
    """VMs for people, and for `awk`."""
    rows = [("NAME", "ZONE", "STATUS", "MACHINE TYPE", "SPOT", "ADDRESS", "CREATED")]
    rows += [
        (
            vm.name,
            vm.zone,
            vm.status,
            vm.machine_type,
            "spot" if vm.spot else "-",
            vm.internal_ip or "-",
            vm.created,
        )
        for vm in vms
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
