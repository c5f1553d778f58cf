"""The jobs of the chaos run: whatever is applied twice, or not at all, changes their results.

Each job of a layered workflow adds its own number to the values that its parents pushed into its
spec, pushes the sum to its children, and counts itself in them. Its runs it writes to a file of its
own, so that a job that merely ran twice can be told from one whose result was applied twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireworks import FiretaskBase, Firework, FWAction, Workflow, explicit_serialize

from benchmarks.shapes import graph

#: Every so many jobs one adds a Firework to its workflow.
_GROWS = 10
_MODULUS = 1_000_003
#: Jobs in one workflow, about.
_WORKFLOW = 200


@explicit_serialize
class SumUp(FiretaskBase):
    """Add `number` to the spec's values; write the run down in `ledger`; perhaps add a Firework."""

    required_params = ["ledger", "name", "number", "seconds"]
    optional_params = ["adds"]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """The sum is stored, and pushed to the children."""
        _note(self["ledger"], self["name"], "began")
        time.sleep(self["seconds"])
        value = (sum(fw_spec.get("values", [])) + self["number"]) % _MODULUS
        _note(self["ledger"], self["name"], "ended")
        return FWAction(
            stored_data={"value": value},
            update_spec={f"of_{self['number']}": value},
            mod_spec=[{"_push": {"values": value}}, {"_inc": {"arrivals": 1}}],
            additions=Firework(_task(self, self["adds"]), name=self["adds"])
            if self.get("adds")
            else None,
        )


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the LaunchPad must say of a job at the end."""

    value: int
    #: The parents' values, sorted.
    values: tuple[int, ...]
    #: What the parents updated in its spec.
    updates: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Jobs that run a container as well."""

    #: One job of so many.
    every: int
    image: str
    #: Value of the label ``chaos`` of the containers.
    mark: str
    #: Where they store a file each.
    store: Path


class Jobs:
    """`jobs` jobs in layered workflows, and what must come of them."""

    def __init__(
        self, jobs: int, ledger: Path, seconds: float, containers: Containers | None = None
    ) -> None:
        """`seconds` is how long each takes; some add one more Firework, beyond `jobs`."""
        self._ledger = ledger
        self._seconds = seconds
        self._containers = containers
        count = max(1, round(jobs / _WORKFLOW))
        self._graphs = [
            graph("layers", jobs // count + (number < jobs % count)) for number in range(count)
        ]

    def workflows(self) -> Iterator[Workflow]:
        """To be added to a LaunchPad, in this order."""
        number = 0
        for place, parents in enumerate(self._graphs):
            fireworks = [self._firework(number + each) for each in range(len(parents))]
            links: dict[Any, list[Any]] = {firework: [] for firework in fireworks}
            for child, its_parents in zip(fireworks, parents, strict=True):
                for parent in its_parents:
                    links[fireworks[parent]].append(child)
            number += len(parents)
            yield Workflow(fireworks, links, name=f"workflow {place}")

    def expected(self) -> dict[str, Expected]:
        """By name, those that are added on the way included."""
        found: dict[str, Expected] = {}
        first = 0
        for parents in self._graphs:
            for place, its_parents in enumerate(parents):
                one = _expect(first + place, [first + parent for parent in its_parents], found)
                found[_name(first + place)] = one
                if adds := _adds(first + place):
                    # FireWorks updates the children's specs before it adds a Firework.
                    found[adds] = _expect(first + place, [], found)
            first += len(parents)
        return found

    def with_containers(self) -> list[str]:
        """Names of the jobs that run a container."""
        if self._containers is None:
            return []
        total = sum(len(parents) for parents in self._graphs)
        return [_name(number) for number in range(0, total, self._containers.every)]

    def _firework(self, number: int) -> Firework:
        name = _name(number)
        task = SumUp(ledger=str(self._ledger), name=name, number=number, seconds=self._seconds)
        if adds := _adds(number):
            task["adds"] = adds
        containers = self._containers
        if containers is None or number % containers.every:
            return Firework(task, name=name)
        return Firework([_container(name, containers), task], name=name)


def runs(ledger: Path, word: str) -> dict[str, int]:
    """How often each job ``began`` or ``ended``, by name."""
    return {
        file.name: file.read_text().splitlines().count(word)
        for file in ledger.iterdir()
        if file.is_file()
    }


def _expect(number: int, parents: Sequence[int], known: dict[str, Expected]) -> Expected:
    updates = {f"of_{parent}": known[_name(parent)].value for parent in parents}
    values = tuple(sorted(updates.values()))
    return Expected(value=(sum(values) + number) % _MODULUS, values=values, updates=updates)


def _name(number: int) -> str:
    return f"job-{number}"


def _adds(number: int) -> str:
    return "" if number % _GROWS else f"added-by-{number}"


def _task(like: SumUp, name: str) -> SumUp:
    same = {key: like[key] for key in ("ledger", "number", "seconds")}
    return SumUp(name=name, **same)


def _container(name: str, containers: Containers) -> Any:
    # Imported late: the task module is loaded by every slot, which may have no Docker jobs.
    from executor.docker_task import DockerTask

    labels: Any = {"labels": {"chaos": containers.mark}, "network": "none"}
    return DockerTask(
        name=name,
        image=containers.image,
        command=["sh", "-c", f"echo {name} > {name}"],
        working_dir="/data",
        internal_prefix="/data",
        storage_prefix="",
        storage="nfs",
        workdir=str(containers.store),
        outputs=[f"/data/{name}"],
        **labels,
    )


def _note(ledger: str, name: str, word: str) -> None:
    # One write in append mode: whole lines, whoever else writes.
    descriptor = os.open(Path(ledger) / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{word}\n".encode())
    finally:
        os.close(descriptor)
