"""How a process that handles documents by the hundred collects garbage."""

from __future__ import annotations

import gc

#: Objects that are new since the last collection; Python's own 700 are the documents of a few jobs.
_NEW_OBJECTS = 20_000


def collect_seldom() -> None:
    """Look for garbage in what is new, not in our libraries' modules, and not after every few
    documents. Of a dispatcher's time that takes a tenth otherwise, and finds next to nothing.

    To be called once everything is imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
