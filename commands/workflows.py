"""The workflows of recorded jobs, as a LaunchPad knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dispatcher.launch_documents import job_id
from events.job_run import JobRun
from events.report.critical_path import Node, Workflow

#: How `job_id` begins.
_JOB = re.compile(r"fw\d+-l(\d+)-")
_AT_ONCE = 5_000


def workflows_of(launchpad: Any, runs: Sequence[JobRun]) -> list[Workflow]:
    """The workflows of which `runs` has any ended launch, with these launches' times.

    Jobs of another LaunchPad, of before its last reset, and raw jobs are left out. Raises what
    pymongo raises.
    """
    nodes = _nodes(launchpad, {run.id: run for run in runs if run.ended is not None})
    found: dict[Any, Workflow] = {}
    for some in _portions(list(nodes)):
        fields = {"nodes": 1, "links": 1, "name": 1}
        for document in launchpad.workflows.find({"nodes": {"$in": some}}, fields):
            found[document["_id"]] = _workflow(document, nodes)
    return list(found.values())


def _nodes(launchpad: Any, runs: Mapping[str, JobRun]) -> dict[int, Node]:
    """The Fireworks that these runs are of; of each the run that ended last."""
    launches = [int(match[1]) for job in runs if (match := _JOB.match(job))]
    nodes: dict[int, Node] = {}
    for some in _portions(launches):
        fields = {"launch_id": 1, "fw_id": 1, "state_history": 1}
        for launch in launchpad.launches.find({"launch_id": {"$in": some}}, fields):
            run = runs.get(job_id(launch)) if launch.get("state_history") else None
            known = nodes.get(launch["fw_id"])
            if run is not None and (known is None or known.ended < (run.ended or 0.0)):
                nodes[launch["fw_id"]] = Node(
                    fw_id=launch["fw_id"],
                    name=run.name or run.id,
                    started=run.started,
                    ended=run.ended or run.started,
                )
    return nodes


def _workflow(document: Mapping[str, Any], nodes: Mapping[int, Node]) -> Workflow:
    return Workflow(
        name=str(document.get("name") or "a workflow without a name"),
        nodes={fw_id: nodes[fw_id] for fw_id in document["nodes"] if fw_id in nodes},
        links={int(parent): children for parent, children in document.get("links", {}).items()},
    )


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    starts: Iterable[int] = range(0, len(ids), _AT_ONCE)
    return (ids[start : start + _AT_ONCE] for start in starts)
