"""What the Fireworks of the fault tests do, and workflows that show whether it was done once."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
from fireworks import FiretaskBase, Firework, FWAction, PyTask, Workflow, explicit_serialize


def work(log: str, name: str, seconds: float = 0.0, gate: str | None = None) -> None:
    """Say that it runs, take `seconds`, wait for the file `gate` if there is one, say so again."""
    _note(log, f"began {name}")
    time.sleep(seconds)
    while gate is not None and not Path(gate).exists():
        time.sleep(0.02)
    _note(log, f"ended {name}")


def kill_slot(log: str, times: int) -> None:
    """Kill the process that runs this, for the first `times` times."""
    _note(log, "began killer")
    if Path(log).read_text().count("began killer") <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    _note(log, "ended killer")


def kill_executor(log: str) -> None:
    """Kill the executor: the fork server's parent, or (reparented) whoever has our workdir."""
    _note(log, "began executor killer")
    for parent in psutil.Process().parents():
        if "executor" in parent.cmdline():
            parent.kill()
            time.sleep(60)
    raise RuntimeError("there is no executor above this process")


def big_result(size: int) -> dict[str, str]:
    """A result over every limit."""
    return {"text": "x" * size}


@explicit_serialize
class Grow(FiretaskBase):
    """Push and increment in the children's specs, and add a Firework: once, and not twice."""

    required_params = ["log", "name"]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        name = self["name"]
        _note(self["log"], f"ended {name}")
        return FWAction(
            stored_data={"grown": name},
            mod_spec=[{"_push": {"grown": name}}, {"_inc": {"count": 1}}],
            additions=Firework(
                task(self["log"], f"addition of {name}"), name=f"addition of {name}"
            ),
        )


def task(log: Path | str, name: str, seconds: float = 0.0, gate: Path | None = None) -> PyTask:
    """A task that calls `work`."""
    gates = {} if gate is None else {"gate": str(gate)}
    kwargs = {"log": str(log), "name": name, "seconds": seconds, **gates}
    return PyTask(func=f"{__name__}.work", kwargs=kwargs)


def call(function: Any, **kwargs: Any) -> PyTask:
    """A task that calls another function of this module."""
    return PyTask(func=f"{__name__}.{function.__name__}", kwargs=kwargs)


def firework(log: Path, name: str, **arguments: Any) -> Firework:
    """A Firework that only logs."""
    return Firework(task(log, name, **arguments), name=name)


def fan(log: Path, width: int, seconds: float) -> Workflow:
    """One root, `width` Fireworks beside each other, one join."""
    root, join = firework(log, "root"), firework(log, "join")
    middle = [firework(log, f"middle {number}", seconds=seconds) for number in range(width)]
    links = {root: middle, **{each: [join] for each in middle}}
    return Workflow([root, *middle, join], links, name="fan")


def growing(log: Path) -> Workflow:
    """Two parents that `Grow`, each with a child of its own, and a join of the parents."""
    parents = [Firework(Grow(log=str(log), name=name), name=name) for name in ("a", "b")]
    children = [firework(log, f"child of {name}") for name in ("a", "b")]
    join = firework(log, "join")
    links = {parents[0]: [children[0], join], parents[1]: [children[1], join]}
    return Workflow([*parents, *children, join], links, name="growing")


def ended(log: Path) -> list[str]:
    """Names of the tasks that ran to their end, in order, with repetitions."""
    return _said(log, "ended ")


def began(log: Path) -> list[str]:
    """Names of the tasks that began, in order, with repetitions."""
    return _said(log, "began ")


def _said(log: Path, word: str) -> list[str]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.removeprefix(word) for line in lines if line.startswith(word)]


def _note(log: str, line: str) -> None:
    # One write in append mode: whole lines, whoever else writes.
    with Path(log).open("a") as file:
        file.write(f"{line}\n")
