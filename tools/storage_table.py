"""Writes the table of docs/storage.md: what each storage backend can do.

    python tools/storage_table.py             write it
    python tools/storage_table.py --check     exit code 1 when the page is out of date

The table is made of what the conformance exam (tests/storage_backends/conformance) is told of each
kind of store: a behaviour that a kind does not lack is tested on it. It stands between ``<!--
storage table -->`` and ``<!-- end of storage table -->``. Portfire's dev extra must be installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tests are no installed package

from tests.storage_backends.conformance.behaviours import DESCRIPTIONS  # noqa: E402 - see above
from tests.storage_backends.conformance.conftest import KINDS  # noqa: E402 - see above

PAGE = ROOT / "docs" / "storage.md"
_MARKS = re.compile(r"(<!-- storage table -->\n).*?(<!-- end of storage table -->)", re.DOTALL)


def main() -> int:
    """Write the page, or with --check compare it; the exit code."""
    parser = argparse.ArgumentParser(description="Keep docs/storage.md up to date.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    before = PAGE.read_text(encoding="utf-8")
    after, found = _MARKS.subn(lambda marks: f"{marks[1]}{_table()}\n{marks[2]}", before)
    if found != 1:
        raise SystemExit(f"{PAGE.name} has {found} places for the table: expected one")
    if after != before and not check:
        PAGE.write_text(after, encoding="utf-8")
    if after != before and check:
        sys.stderr.write(f"{PAGE.name} is out of date: run python tools/storage_table.py\n")
        return 1
    return 0


def _table() -> str:
    kinds = [kind for kind in KINDS if kind.documented]
    names = [kind.documented or "" for kind in kinds]
    heads = [name if "`" in name else f"`{name}`" for name in names]
    rows = [["what it does", *heads], ["---"] * (len(heads) + 1)]
    for behaviour, description in DESCRIPTIONS.items():
        has = ("no" if behaviour in kind.lacks else "yes" for kind in kinds)
        rows.append([description, *has])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
