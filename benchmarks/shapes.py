"""The shapes of the workflows that are timed, for every system the same.

A shape is a tuple with one entry for each task: the numbers of its parents, which are all smaller
than its own.
"""

from __future__ import annotations

from typing import Any

from fireworks import Firework, PyTask, Workflow

#: For each task the numbers of its parents.
Graph = tuple[tuple[int, ...], ...]

SHAPES = ("bag", "fan", "chain", "layers")
LAYERS = 10
PARENTS = 3


def graph(shape: str, jobs: int) -> Graph:
    """`jobs` tasks in a shape; a fan has its root and its join besides.

    Layers are as wide as a tenth of `jobs`, rounded up. Raises ValueError for an unknown shape.
    """
    if shape == "bag":
        return ((),) * jobs
    if shape == "fan":
        return ((), *((0,),) * jobs, tuple(range(1, jobs + 1)))
    if shape == "chain":
        return tuple(() if number == 0 else (number - 1,) for number in range(jobs))
    if shape == "layers":
        return _layers(jobs)
    raise ValueError(f"no shape {shape!r}: one of {', '.join(SHAPES)}")


def workflows(shape: str, jobs: int) -> list[Any]:
    """The shape as FireWorks Workflows of no-op PyTasks: a bag is many, the others are one."""
    parents = graph(shape, jobs)
    fireworks = [
        Firework([PyTask(func="time.time")], name=f"job {number}") for number in range(len(parents))
    ]
    if shape == "bag":
        return [Workflow([firework]) for firework in fireworks]
    links: dict[Any, list[Any]] = {firework: [] for firework in fireworks}
    for child, its_parents in zip(fireworks, parents, strict=True):
        for parent in its_parents:
            links[fireworks[parent]].append(child)
    return [Workflow(fireworks, links, name=shape)]


def _layers(jobs: int) -> Graph:
    width = -(-jobs // LAYERS)
    return tuple(
        ()
        if number < width
        else tuple(
            sorted(
                {(number // width - 1) * width + (number + step) % width for step in range(PARENTS)}
            )
        )
        for number in range(jobs)
    )
