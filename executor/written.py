"""Which of its outputs a job has written: an old file of the same name is none of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from storage_backends.paths import below, is_tree

#: What changes with a file or tree.
_Facts = tuple[int, ...]


class ExpectedOutputs:
    """Outputs as they are before the execution, to be compared with what is there after it."""

    def __init__(self, files: Path, names: Iterable[str], kept: Collection[str] = ()) -> None:
        """Look at all `names` (checked ones) in the directory `files`; those `kept` need no change.

        Raises PathError and OSError.
        """
        self._files = files
        self._before = {name: None if name in kept else self._facts(name) for name in names}

    def unwritten(self) -> list[str]:
        """What is missing or unchanged, as text for people. Raises PathError and OSError."""
        texts = []
        for name, before in self._before.items():
            now = self._facts(name)
            if now is None:
                texts.append(repr(name))
            elif now == before:
                texts.append(f"{name!r} (an older one is there)")
        return texts

    def _facts(self, name: str) -> _Facts | None:
        """None where there is no such file, or no tree that holds something."""
        path = below(self._files, name, "output")
        if not is_there(path, name):
            return None
        if not is_tree(name):
            return _file_facts(path.stat())
        # Every change below shows in the newest time: that of a directory, when something went.
        facts = [_file_facts(part) for part in _parts(path)]
        newest = max(times for times, *_ in facts)
        return newest, len(facts), sum(size for *_, size in facts)


def is_there(path: Path, name: str) -> bool:
    """Whether a file is there, or a tree that holds something."""
    if not is_tree(name):
        return path.is_file()
    return path.is_dir() and any(path.iterdir())


def _file_facts(facts: os.stat_result) -> tuple[int, int, int, int]:
    # The time of the last change of all (ctime) as well: ``cp -p`` and the like set the other.
    return facts.st_ctime_ns, facts.st_mtime_ns, facts.st_ino, facts.st_size


def _parts(tree: Path) -> Iterator[os.stat_result]:
    yield tree.stat()
    for directory, directories, files in os.walk(tree):
        for name in (*directories, *files):
            with contextlib.suppress(FileNotFoundError):  # somebody else may work here too
                yield Path(directory, name).lstat()
