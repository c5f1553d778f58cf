"""Names that a job gives to its files: checked once, so that none leaves the job's directory."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from pathlib import Path

from messaging.errors import JobError

_MAX_PART_BYTES = 255
_MAX_NAME_BYTES = 1024
_UNWANTED = re.compile(r"[\x00-\x1f\\\x7f]")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.part")


class PathError(JobError):
    """A name that a job must not use; says which and why."""


def checked_name(name: object, what: str) -> str:
    """`name` unchanged, if it is a plain relative path; `what` (``input``) says whose in the error.

    Refused: not text, empty, absolute, a part ``..`` or ``.`` or empty (``a//b``), a NUL, another
    control character or a backslash, bytes that are no UTF-8, and lengths that file systems or
    object stores refuse. So two different names never mean the same file. Raises PathError.
    """
    if not isinstance(name, str):
        raise PathError(f"{what} {name!r} is a {type(name).__name__}: expected a relative path")
    problem = _problem(name)
    if problem:
        raise PathError(f"{what} {_short(name)} {problem}")
    return name


def checked_names(names: Iterable[object], what: str) -> tuple[str, ...]:
    """All `names`, each checked, and none twice (``a`` and ``a/`` are the same place)."""
    seen: set[str] = set()
    checked = []
    for name in names:
        checked.append(checked_name(name, what))
        place = checked[-1].rstrip("/")
        if place in seen:
            raise PathError(f"{what} {name!r} is named twice: name each file once")
        seen.add(place)
    return tuple(checked)


def below(root: Path, name: str, what: str) -> Path:
    """The path of a checked `name` below `root`, with all symlinks followed; it need not exist.

    Raises PathError when a symlink leads out of `root`.
    """
    resolved_root = root.resolve()
    path = (resolved_root / name).resolve()
    if not path.is_relative_to(resolved_root):
        raise PathError(f"{what} {_short(name)} leads outside {root} by a symbolic link")
    return path


def temporary_beside(target: Path) -> Path:
    """A new name in the directory of `target`, for what is to become it by a rename."""
    return target.with_name(f".{uuid.uuid4().hex}.part")


def is_temporary(base: str) -> bool:
    """Whether the last part of a name is one of `temporary_beside`."""
    return base.startswith(".") and _TEMPORARY.fullmatch(base) is not None


def is_tree(name: str) -> bool:
    """Whether the name means all that lies below it."""
    return name.endswith("/")


def _problem(name: str) -> str | None:
    if not name:
        return "is empty: expected a relative path"
    if name.startswith("/"):
        return "is absolute: expected a path relative to the job's directory"
    if _UNWANTED.search(name):
        return "has a control character or a backslash"
    parts = name.removesuffix("/").split("/")
    if any(part in ("..", ".") for part in parts):
        return "has a '.' or '..' part: expected a path that stays in the job's directory"
    if not all(parts):
        return "has an empty part: write one '/' between parts"
    return _size_problem(name, parts)


def _size_problem(name: str, parts: list[str]) -> str | None:
    if name.isascii() and len(name) <= _MAX_PART_BYTES:
        return None
    try:
        too_long = any(len(part.encode()) > _MAX_PART_BYTES for part in parts)
        too_long = too_long or len(name.encode()) > _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if too_long:
        return f"is too long: {_MAX_PART_BYTES} bytes a part, {_MAX_NAME_BYTES} in all"
    return None


def _short(name: str) -> str:
    text = ascii(name) if not name.isprintable() else repr(name)
    return text if len(text) <= 80 else text[:77] + "..."
