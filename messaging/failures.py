"""How FireWorks stores a failure, for programs that need not load FireWorks."""

from __future__ import annotations

from typing import Any


def failure_action(message: str, stacktrace: str | None = None) -> dict[str, Any]:
    """``FWAction.to_dict()`` of a failed task; without `stacktrace` the message stands for it."""
    return {
        "stored_data": {
            "_message": message,
            "_task": None,
            "_exception": {"_stacktrace": stacktrace or message, "_details": None},
        },
        "exit": True,
        "update_spec": {},
        "mod_spec": [],
        "additions": [],
        "detours": [],
        "append_wfs": [],
        "defuse_children": False,
        "defuse_workflow": False,
        "propagate": False,
    }
