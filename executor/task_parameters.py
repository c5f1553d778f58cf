"""Reading a Firetask's parameters: of the right shape, or an error that names the parameter."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from messaging.errors import JobError


def refuse_unknown(task: Any) -> None:
    """Raise JobError if a Firetask has a parameter that it does not know, such as a misspelt one.

    FireWorks looks only at keyword arguments, not at what a workflow file says.
    """
    known = [*task.required_params, *task.optional_params]
    for parameter in task:
        if parameter in known or str(parameter).startswith("_"):
            continue
        near = difflib.get_close_matches(str(parameter), known, n=1)
        hint = f"did you mean {near[0]}?" if near else "the documentation lists all"
        raise JobError(f"{parameter!r} is no parameter of this task: {hint}")


def listed(task: Mapping[str, Any], parameter: str) -> list[Any]:
    """A list parameter, empty if absent. Raises JobError for anything but a list."""
    value = task.get(parameter)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise JobError(f"{parameter} is {value!r}: expected a list")
    return list(value)


def mapping(task: Mapping[str, Any], parameter: str) -> dict[str, Any]:
    """A dictionary parameter, empty if absent. Raises JobError for anything else."""
    value = task.get(parameter)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise JobError(f"{parameter} is a {type(value).__name__}: expected names and values")
    return dict(value)


def flag(task: Mapping[str, Any], parameter: str) -> bool:
    """A parameter that is true or false, false if absent. Raises JobError for anything else."""
    value = task.get(parameter)
    if value not in (None, True, False):
        raise JobError(f"{parameter} is {value!r}: expected true or false")
    return bool(value)
