"""`portfire broker` that counts the calls it answers: python -m benchmarks.counted_broker FILE.

At each SIGUSR1 the counts so far, by method, go to FILE as JSON.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from messaging.broker import services
from portfire import main as portfire
from tests.waiting import wait_until

_COUNTED = {
    services.PublisherService: ("publish",),
    services.SubscriberService: ("pull", "acknowledge", "modify_ack_deadline"),
}


def main() -> None:
    """Serve until SIGTERM."""
    file = Path(sys.argv[1])
    calls: Counter[str] = Counter()
    for service, methods in _COUNTED.items():
        for method in methods:
            setattr(service, method, _counted(getattr(service, method), method, calls))

    def tell(*_: object) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(calls))
        fresh.replace(file)

    signal.signal(signal.SIGUSR1, tell)
    sys.argv = ["portfire", "broker", "--port", "0"]
    sys.exit(portfire())


def read_calls(pid: int, file: Path) -> Counter[str]:
    """The counts of the broker `pid` so far; with those of messages and ids."""
    file.unlink(missing_ok=True)
    os.kill(psutil.Process(pid).pid, signal.SIGUSR1)
    wait_until(file.exists, what="the broker's counts")
    return Counter(json.loads(file.read_text()))


def _counted(method: Callable[..., Any], name: str, calls: Counter[str]) -> Callable[..., Any]:
    def note(request: Any) -> None:
        calls[name] += 1
        if name == "publish":
            calls["messages published"] += len(request[0].messages)
        elif name != "pull":
            calls[f"ids in {name}"] += len(request.ack_ids)

    # The server asks which of the two a method is.
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(self: Any, request: Any, context: Any) -> Any:
            note(request)
            return await method(self, request, context)

        return awaited

    @functools.wraps(method)
    def called(self: Any, request: Any) -> Any:
        note(request)
        return method(self, request)

    return called


if __name__ == "__main__":
    main()
