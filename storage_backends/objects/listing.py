"""What a listing of objects means as a tree of files: checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage_backends.errors import StorageDeniedError, StorageNotFoundError
from storage_backends.objects.store import StoredObject
from storage_backends.paths import PathError, checked_name, is_tree


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree's files and directories, by names relative to it; all of them are safe to make."""

    #: Each ends in ``/``; parents first.
    directories: tuple[str, ...]
    files: dict[str, StoredObject]


def tree_of(prefix: str, listed: Iterable[StoredObject]) -> Tree:
    """The tree that objects, whose names all begin with `prefix`, are.

    A name that ends in ``/`` is a placeholder of a directory. Raises StorageDeniedError for a name
    that is no plain relative path, and for a file and a directory of one name, and
    StorageNotFoundError where there is neither file nor directory.
    """
    directories: set[str] = set()
    files: dict[str, StoredObject] = {}
    for found in listed:
        name = found.name[len(prefix) :]
        if not name:
            continue  # the placeholder of the tree itself
        try:
            checked_name(name, "object name")
        except PathError as exc:
            raise StorageDeniedError(f"{exc}; rename the object or leave it out") from exc
        directories.update(parents(name))
        if is_tree(name):
            directories.add(name)
        else:
            files[name] = found
    for name in files:
        if f"{name}/" in directories:
            raise StorageDeniedError(f"it holds {name!r} both as a file and as a directory")
    if not files and not directories:
        raise StorageNotFoundError("the tree holds nothing")
    return Tree(tuple(sorted(directories)), files)


def parents(name: str) -> list[str]:
    """The directories above the file or directory `name`, outermost first, without the root."""
    parts = name.removesuffix("/").split("/")[:-1]
    return ["/".join(parts[: depth + 1]) + "/" for depth in range(len(parts))]
