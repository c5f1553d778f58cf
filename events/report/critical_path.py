"""The critical path of a workflow: the chain of jobs that its end waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One Firework that ran. Times are seconds since the epoch."""

    fw_id: int
    name: str
    started: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow's Fireworks that ran, and which of them waited for which."""

    name: str
    nodes: Mapping[int, Node]
    #: fw_id of a parent to those of its children.
    links: Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One job on the critical path. Seconds, never negative."""

    node: Node
    #: From the end of the job before it to its own start: claim, queue, a free slot.
    waited: float
    ran: float
    #: Of the whole path's time, 0 to 1.
    share: float


def critical_path(workflow: Workflow) -> list[Step]:
    """The job that ended last, the parent of it that ended last, and so on; the first job first.

    Empty when nothing ran. Clocks of different executors are taken as they are, less what would be
    a negative wait.
    """
    chain = _chain(workflow)
    waits, before = [], None
    for node in chain:
        waits.append(0.0 if before is None else max(0.0, node.started - before))
        before = node.ended
    runs = [max(0.0, node.ended - node.started) for node in chain]
    whole = sum(waits) + sum(runs)
    return [
        Step(
            node=node,
            waited=waited,
            ran=ran,
            share=(waited + ran) / whole if whole > 0 else 0.0,
        )
        for node, waited, ran in zip(chain, waits, runs, strict=True)
    ]


def _chain(workflow: Workflow) -> list[Node]:
    parents: dict[int, list[int]] = {}
    for parent, children in workflow.links.items():
        for child in children:
            parents.setdefault(child, []).append(parent)
    node = _last(workflow.nodes.values())
    chain: list[Node] = []
    seen: set[int] = set()
    while node is not None and node.fw_id not in seen:
        chain.append(node)
        seen.add(node.fw_id)
        above = (workflow.nodes.get(fw_id) for fw_id in parents.get(node.fw_id, ()))
        node = _last(parent for parent in above if parent is not None)
    return chain[::-1]


def _last(nodes: Iterable[Node]) -> Node | None:
    return max(nodes, key=lambda node: (node.ended, node.fw_id), default=None)
