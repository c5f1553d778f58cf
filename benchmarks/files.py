"""The files that are moved: small ones in a tree of ten directories, and a large one."""

from __future__ import annotations

import random
from pathlib import Path

#: From where the benchmarks' own processes are started.
ROOT = Path(__file__).parent.parent
#: Bytes of a small file.
SMALL = 10_000
_BLOCK = 1 << 20


def file_name(number: int) -> str:
    """The name of the small file `number` below its tree."""
    return f"part{number % 10}/file{number:05}.bin"


def content(number: int) -> bytes:
    """The bytes of the small file `number`."""
    return random.Random(number).randbytes(SMALL)


def make_tree(directory: Path, files: int) -> None:
    """Write the small files below `directory`."""
    for number in range(files):
        path = directory / file_name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(number))


def check_tree(directory: Path, files: int) -> None:
    """Raise ValueError unless `directory` holds the small files, all of them and whole."""
    for number in range(files):
        path = directory / file_name(number)
        if path.read_bytes() != content(number):
            raise ValueError(f"{path} does not hold what was sent")


def make_large(path: Path, mebibytes: int) -> None:
    """Write a file of `mebibytes` MiB that no file system stores as a hole."""
    block = random.Random(mebibytes).randbytes(_BLOCK)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(block)
