"""What the Fireworks of the acceptance tests do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fireworks import FiretaskBase, Firework, FWAction, ScriptTask, Workflow, explicit_serialize

from executor.command_task import CommandTask


@explicit_serialize
class PushOntoText(FiretaskBase):
    """An action that its children's specs cannot take: it pushes onto what is a text there."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        return FWAction(mod_spec=[{"_push": {"list": 1}}])


class FromNowhere(FiretaskBase):
    """A task of a package that is not installed where it is to run."""

    _fw_name = "{{no.such.module.Task}}"


def wait_for(gate: str) -> None:
    """Wait until the file `gate` is there, for at most a minute."""
    deadline = time.monotonic() + 60
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def script(name: str, line: str = "true", **spec: Any) -> Firework:
    """A Firework that runs a line in the shell."""
    return Firework(ScriptTask.from_str(line), spec=spec, name=name)


def with_child(task: Any, name: str, child_spec: dict[str, Any]) -> Workflow:
    """`task` in a Firework called `name`, with a child of this spec."""
    parent = Firework(task, name=name)
    child = Firework(ScriptTask.from_str("true"), spec=child_spec, name=f"child of {name}")
    return Workflow([parent, child], {parent: [child]}, name=name)


def letters(storage: Path | None, words: Sequence[str]) -> Workflow:
    """Three tasks one after the other; the last writes ``result.txt``.

    Their files are in `storage`, or (None) where the executor's settings say. The first
    writes the words, the second sorts them, the third counts them.
    """
    files: dict[str, Any] = {} if storage is None else {"storage": "nfs", "workdir": str(storage)}
    lines = "".join(f"{word}\\n" for word in words)
    write = CommandTask(command=f"printf '{lines}' > words.txt", outputs=["words.txt"], **files)
    order = CommandTask(
        command=["sort", "-u", "words.txt"], inputs=["words.txt"], outputs=[">sorted.txt"], **files
    )
    count = CommandTask(
        command="wc -l < sorted.txt > result.txt",
        inputs=["sorted.txt"],
        outputs=["result.txt"],
        **files,
    )
    fireworks = [
        Firework(task, name=name)
        for name, task in (("write", write), ("order", order), ("count", count))
    ]
    return Workflow(fireworks, dict(itertools.pairwise(fireworks)), name="letters")
