"""How long the dispatcher's search for READY Fireworks takes in a full LaunchPad.

    python -m benchmarks.claim_query [--ready 100000] [--completed 1000000] [--rounds 20]

A real dispatcher claims on a MongoDB that records its sorted queries. How it searched for READY
Fireworks is then repeated, timed at the client, and explained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bson import BSON
from bson.raw_bson import RawBSONDocument

from benchmarks.daemons import daemons
from benchmarks.database import bench
from benchmarks.shapes import workflows
from tests.waiting import wait_until

_BATCH = 20_000
#: What a recorded command has of its session, and a new one must not have.
_SESSION = ("lsid", "$db", "$clusterTime", "$readPreference", "txnNumber", "apiVersion")


@dataclass(frozen=True)
class Query:
    """One of the dispatcher's queries for READY Fireworks."""

    command: str
    #: Median and greatest milliseconds at the client.
    median_ms: float
    worst_ms: float
    returned: int
    keys_examined: int
    documents_examined: int
    #: The stages of the plan, outermost first.
    plan: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--ready", type=int, default=100_000)
    parser.add_argument("--completed", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with bench() as place:
        launchpad, file = place.launchpad("claim_query")
        began = time.monotonic()
        fill(launchpad, args.completed, args.ready)
        print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        # The record is small: nothing else must drive it out. (At level 2 the filter is ignored.)
        launchpad.db.command(
            "profile", 1, filter={"command.find": "fireworks", "command.sort": {"$exists": True}}
        )
        with daemons(place, file, threads=1, names=("dispatcher",)):
            wait_until(
                lambda: launchpad.launches.count_documents({}, limit=1),
                timeout=120,
                what="the first claim",
            )
        launchpad.db.command("profile", 0)
        queries = [timed(launchpad, one, args.rounds) for one in asked(launchpad)]
    if args.json:
        print(json.dumps([asdict(query) for query in queries], indent=1))
    else:
        print(f"{args.ready} READY and {args.completed} COMPLETED Fireworks")
        print("\n".join(map(_text, queries)))


def fill(launchpad: Any, completed: int, ready: int) -> None:
    """Fill a fresh LaunchPad with one-task workflows as FireWorks stores them."""
    launchpad.add_wf(workflows("bag", 1)[0])
    firework = launchpad.fireworks.find_one_and_delete({}, {"_id": 0})
    workflow = launchpad.workflows.find_one_and_delete({}, {"_id": 0})
    for first, count, state in _batches(completed, ready):
        ids = range(first, first + count)
        # Encoded here, lest pymongo add an _id to each.
        launchpad.workflows.insert_many(
            [_raw(_workflow(workflow, fw_id, state)) for fw_id in ids], ordered=False
        )
        launchpad.fireworks.insert_many(
            [_raw({**firework, "fw_id": fw_id, "state": state}) for fw_id in ids], ordered=False
        )
    launchpad.fw_id_assigner.update_one({}, {"$set": {"next_fw_id": completed + ready + 1}})


def asked(launchpad: Any) -> list[dict[str, Any]]:
    """The distinct searches for READY Fireworks that were recorded, the longest first."""
    searches: dict[str, dict[str, Any]] = {}
    for entry in launchpad.db["system.profile"].find().sort("millis", -1):
        command = {name: part for name, part in entry["command"].items() if name not in _SESSION}
        if "READY" in str(command.get("filter")):
            # One of each kind: they differ in what is left alone, and in how many are wanted.
            searches.setdefault(str([command["sort"], command.get("projection")]), command)
    if not searches:
        raise SystemExit("the dispatcher was not seen to search for READY Fireworks")
    return list(searches.values())


def timed(launchpad: Any, command: dict[str, Any], rounds: int) -> Query:
    """Ask again, timed at the client, and have MongoDB explain."""
    milliseconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = launchpad.db.command(command)["cursor"]
        if answer["id"]:
            launchpad.db.command({"getMore": answer["id"], "collection": "fireworks"})
        milliseconds.append((time.perf_counter() - began) * 1e3)
    explained = launchpad.db.command({"explain": command, "verbosity": "executionStats"})
    stats = explained["executionStats"]
    return Query(
        command=str({name: command[name] for name in command if name != "find"}),
        median_ms=statistics.median(milliseconds),
        worst_ms=max(milliseconds),
        returned=stats["nReturned"],
        keys_examined=stats["totalKeysExamined"],
        documents_examined=stats["totalDocsExamined"],
        plan=" < ".join(_stages(stats["executionStages"])),
    )


def _batches(completed: int, ready: int) -> Iterator[tuple[int, int, str]]:
    """First id, count and state of each batch."""
    first = 1
    for state, total in (("COMPLETED", completed), ("READY", ready)):
        for done in range(0, total, _BATCH):
            count = min(_BATCH, total - done)
            yield first, count, state
            first += count


def _workflow(template: dict[str, Any], fw_id: int, state: str) -> dict[str, Any]:
    name = str(fw_id)
    return {
        **template,
        "nodes": [fw_id],
        "links": {name: []},
        "parent_links": {},
        "fw_states": {name: state},
        "state": "COMPLETED" if state == "COMPLETED" else template["state"],
    }


def _raw(document: dict[str, Any]) -> RawBSONDocument:
    return RawBSONDocument(BSON.encode(document))


def _stages(stage: dict[str, Any]) -> Iterator[str]:
    index = stage.get("indexName")
    yield stage["stage"] + (f" {index}" if index else "")
    for inner in [stage["inputStage"]] if "inputStage" in stage else stage.get("inputStages", []):
        yield from _stages(inner)


def _text(query: Query) -> str:
    return (
        f"median {query.median_ms:.1f} ms, worst {query.worst_ms:.1f} ms: {query.returned} found, "
        f"{query.keys_examined} keys and {query.documents_examined} documents examined\n"
        f"  plan: {query.plan}\n  query: {query.command[:400]}"
    )


if __name__ == "__main__":
    main()
