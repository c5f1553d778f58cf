"""The page on troubleshooting quotes errors as the code words them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("commands", "dispatcher", "events", "executor", "messaging", "storage_backends")
#: Said by others: the operating system, Pub/Sub, pydantic, FireWorks.
OTHERS = ("No such file or directory", "Resource not found", "load_object", "lpad add")
#: Lines of which most is filled in, and the part that the code has.
COMPOSED = {
    "input '../x'": "has a '.' or '..' part",
    "unknown storage backend": "unknown storage backend",
    "storage backend 'nfs' has workdir None": "has workdir",
    "job is not JSON": "is not JSON: ",
    "raw job is not valid": "is missing",
    "x.yml: thread is no setting": "is no setting; the settings are: ",
    "x.yml: threads": '{file}: {field}"',
    "environment THREADS": "environment {variable}",
    "j.json, line 2": ": not JSON: ",
    "cannot reach the LaunchPad": "cannot reach the LaunchPad at ",
    "Pub/Sub lacks": "have somebody with the right to create",
}


@functools.cache
def _code() -> str:
    """All sources, the parts of a text that is split over lines joined."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.sub(r"[\"']\s*\n\s*f?[\"']", "", text)


def _quoted() -> Iterator[str]:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (`.+?) \| ", page, re.MULTILINE):
        yield from re.findall(r"`([^`]+)`", row)


def _fragments(line: str) -> list[str]:
    """The parts of an error line that stand in the code as they are, the longest first."""
    parts = re.split(r"…|'[^']*'|\b[\d,.]+\b|\bx\b|\bx\.\w+\b|: |[();{}]", line)
    return sorted((part.strip() for part in parts), key=len, reverse=True)


def test_the_page_quotes_many_errors() -> None:
    assert len(list(_quoted())) > 30


@pytest.mark.parametrize("line", list(_quoted()))
def test_a_quoted_error_is_worded_as_in_the_code(line: str) -> None:
    if not any(other in line for other in OTHERS):
        composed = [part for start, part in COMPOSED.items() if line.startswith(start)]
        fragment = (composed or _fragments(line))[0]
        assert len(fragment) >= 6
        assert fragment in _code(), fragment
