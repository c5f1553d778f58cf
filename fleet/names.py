"""Names of VMs: ``{prefix}-{number}``, made legal as Borealis made them."""

from __future__ import annotations

import re

from messaging.errors import UsageError

#: Of RFC 1035 and Compute Engine, for a VM's name.
_MAX_NAME = 63
#: A hyphen and up to seven digits follow the prefix.
_MAX_PREFIX = _MAX_NAME - 8
_MAX_NUMBER = 9_999_999


def legal_prefix(text: str) -> str:
    """The prefix in small letters, digits and hyphens; "workflow" is left out for brevity.

    Raises UsageError when nothing legal is left or it is too long. It is never cut: two fleets
    must not become one.
    """
    name = re.sub(r"[^-a-z0-9]+", "-", text.lower().replace("workflow", ""))
    name = name.strip("-")
    if not name:
        raise UsageError(f"{text!r} is no name for VMs: it needs a letter, such as in sim")
    if not name[0].isalpha():
        name = f"vm-{name}"
    if len(name) > _MAX_PREFIX:
        raise UsageError(f"{text!r} is too long for VMs' names: {_MAX_PREFIX} letters are allowed")
    return name


def make_names(prefix: str, base: int, count: int) -> list[str]:
    """`count` names from number `base` on, for a legal prefix. Raises UsageError."""
    if base < 0:
        raise UsageError(f"--base is {base}: the first VM's number must be 0 or more")
    if count < 1:
        raise UsageError(f"--count is {count}: there must be at least 1 VM")
    if base + count - 1 > _MAX_NUMBER:
        raise UsageError(f"--base is {base}: VMs' numbers go up to {_MAX_NUMBER}")
    return [f"{prefix}-{number}" for number in range(base, base + count)]


def number_of(name: str) -> int:
    """The number at the end of a VM's name, for sorting; -1 if there is none."""
    match = re.search(r"-(\d+)$", name)
    return int(match[1]) if match else -1


def span(names: list[str]) -> str:
    """How a person would say it: ``3 VMs: sim-0 .. sim-2``."""
    if len(names) == 1:
        return f"VM {names[0]}"
    return f"{len(names)} VMs" + (f": {names[0]} .. {names[-1]}" if names else "")
