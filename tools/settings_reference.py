"""Writes the tables of docs/settings.md from the settings models and the commands' flags.

    python tools/settings_reference.py             write them
    python tools/settings_reference.py --check     exit code 1 when the page is out of date

The tables stand between ``<!-- begin NAME -->`` and ``<!-- end -->``; what is around them is
written by hand. Portfire must be importable.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from commands import dispatcher, executor
from dispatcher.settings import DispatcherSettings
from executor.settings import ExecutorSettings
from messaging.settings import PubSubSettings, Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "names and values",
    "array": "texts",
}
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "over {}",
    "maximum": "at most {}",
    "pattern": "matching `{}`",
}


def main() -> int:
    """Write the page, or with --check compare it; the exit code."""
    parser = argparse.ArgumentParser(description="Keep docs/settings.md up to date.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    before = PAGE.read_text(encoding="utf-8")
    after = with_tables(before)
    if after != before and not check:
        PAGE.write_text(after, encoding="utf-8")
    if after != before and check:
        sys.stderr.write(f"{PAGE.name} is out of date: run python tools/settings_reference.py\n")
        return 1
    return 0


def with_tables(page: str) -> str:
    """The page with its tables made anew."""
    shared = set(PubSubSettings.model_fields)
    tables = {
        "PubSubSettings": _table(PubSubSettings, shared, _flags(executor)),
        "ExecutorSettings": _table(
            ExecutorSettings, set(ExecutorSettings.model_fields) - shared, _flags(executor)
        ),
        "DispatcherSettings": _table(
            DispatcherSettings, set(DispatcherSettings.model_fields) - shared, _flags(dispatcher)
        ),
    }
    for name, table in tables.items():
        marks = rf"(<!-- begin {name} -->\n).*?(<!-- end -->)"
        page, found = re.subn(marks, rf"\g<1>{_escaped(table)}\n\g<2>", page, flags=re.DOTALL)
        if found != 1:
            raise SystemExit(f"{PAGE.name} has {found} places for {name}: expected one")
    return page


def _escaped(table: str) -> str:
    return table.replace("\\", "\\\\")


def _table(model: type[Settings], names: set[str], flags: set[str]) -> str:
    environment = model.environment_names()
    properties = model.model_json_schema()["properties"]
    rows = [
        "| setting | environment | flag | default | value | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, info in model.model_fields.items():
        if name in names:
            cells = (
                f"`{name}`",
                _code(environment.get(name, "")),
                _code(_flag(name, flags)),
                _default(info),
                _value(properties[name]),
                info.description or "",
            )
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _flags(command: Any) -> set[str]:
    """All flags of a command, as its help shows them."""
    subparsers = argparse.ArgumentParser().add_subparsers()
    command.add(subparsers)
    (parser,) = subparsers.choices.values()
    return set(re.findall(r"--[a-z][a-z-]+", parser.format_help()))


def _flag(name: str, flags: Iterable[str]) -> str:
    word = name.replace("_", "-")
    return next((flag for flag in (f"--{word}", f"--no-{word}") if flag in flags), "")


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "made at the start"
    if info.default in ("", {}, (), None):
        return "none"
    if isinstance(info.default, bool):
        return _code(str(info.default).lower())
    return _code(f"{info.default:g}" if isinstance(info.default, float) else str(info.default))


def _value(schema: dict[str, Any]) -> str:
    # A setting that may be left out: what it is otherwise.
    schema = next((each for each in schema.get("anyOf", []) if "type" in each), schema)
    if "enum" in schema:
        return " or ".join(_code(str(value)) for value in schema["enum"])
    kind = "path" if schema.get("format") == "path" else _KINDS[schema["type"]]
    limits = [text.format(_short(schema[key])) for key, text in _LIMITS.items() if key in schema]
    return ", ".join([kind, *limits])


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    sys.exit(main())
