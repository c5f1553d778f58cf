"""A dispatcher that is killed (SIGKILL) or stopped (SIGSTOP) at a chosen point.

    python killing_dispatcher.py POINT before|after|stop N dispatcher -l my_launchpad.yaml ...

POINT is ``module:name.of.function``, perhaps with ``@collection`` for a method of pymongo's
Collection; the process dies before or after the Nth call of it, as by a power cut, or is stopped
before it, as on a suspended machine.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from typing import Any

import portfire


def arm(point: str, when: str, number: int) -> None:
    """Wrap the function so that its Nth call is the last thing that happens, for now or ever."""
    target, _, collection = point.partition("@")
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)
    calls = itertools.count(1)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if collection and args[0].name != collection:
            return original(*args, **kwargs)
        last = next(calls) == number
        if last and when != "after":
            os.kill(os.getpid(), signal.SIGSTOP if when == "stop" else signal.SIGKILL)
        result = original(*args, **kwargs)
        if last and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    arm(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.exit(portfire.main(["-v", *sys.argv[4:]]))
