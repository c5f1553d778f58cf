"""`portfire dispatcher status`: how the dispatchers of a LaunchPad and their executors are."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from commands import launchpads, options


def status(args: argparse.Namespace) -> int:
    """Print it; 0 when a dispatcher lives, else 1."""
    from dispatcher.settings import DispatcherSettings

    settings = options.settings(DispatcherSettings, args)
    source = launchpads.open_source(args, allow_embedded=False)
    from dispatcher.launchpad import database_errors
    from dispatcher.status import collect

    with database_errors("read the dispatchers' state"):
        found = collect(source.launchpad, settings.prefix, args.pool)
    if args.json:
        json.dump(found, sys.stdout, indent=2)
        print()
    else:
        print("\n".join(lines(found)))
    return 0 if any(each["alive"] for each in found["dispatchers"]) else 1


def lines(status: Mapping[str, Any]) -> Iterable[str]:
    """The same for people."""
    yield f"LaunchPad {status['launchpad']}, prefix {status['prefix']}"
    counts = ", ".join(f"{count} {state}" for state, count in status["fireworks"].items())
    yield f"Fireworks: {counts or 'none'}"
    for pool, each in status["pools"].items():
        oldest = f", oldest claim {_span(each['oldest_claim'])} ago"
        text = f"pool {pool}: {each['reserved']} waiting, {each['running']} running"
        yield text + oldest + (f", {each['unpublished']} unpublished" * bool(each["unpublished"]))
    for each in status["dispatchers"]:
        yield _dispatcher(each)
    if not status["dispatchers"]:
        yield "no dispatcher"
    yield from _executors(status["executors"])
    for error in status["last_errors"]:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(error["time"]))
        yield f"{moment} {error['text']}"


def _dispatcher(each: Mapping[str, Any]) -> str:
    who = f"dispatcher {each['instance'][:8]} (process {each['pid']} on {each['host']})"
    if not each["alive"]:
        return f"{who}: dead, last heard of {_span(each['silent'])} ago"
    counts = each.get("counts", {})
    keeps_house = ", keeps house" if each["keeps_house"] else ""
    done = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    in_flight = f"{each.get('in_flight', 0)} of {each.get('limit', '?')} in flight"
    waiting = f"{each.get('updates_waiting', 0)} updates waiting"
    return f"{who}: pool {each['pool']}{keeps_house}: {in_flight}, {waiting}; {done or 'idle'}"


def _executors(executors: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for each in executors:
        alive = "" if each["alive"] else f", silent for {_span(each['silent'])}"
        yield (
            f"executor {each['executor']} on {each['host']}: pool {each['pool']}, "
            f"{each['busy']} of {each['slots']} slots busy{alive}"
        )


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "some time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
