"""Writes docs/event-schemas/: the JSON Schema of each event type, from the event models.

    python tools/event_schemas.py             write them
    python tools/event_schemas.py --check     exit code 1 when they are out of date

They describe events as they are published. Portfire must be importable.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from events.types import EVENT_TYPES

DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "event-schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: What every published event has, whatever a reader may do without.
_ALWAYS = ("version", "type", "event_id", "executor", "timestamp")


def main() -> int:
    """Write the files, or with --check compare them; the exit code."""
    parser = argparse.ArgumentParser(description="Keep docs/event-schemas/ up to date.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    wanted = {f"{name}.json": _text(schema(name)) for name in EVENT_TYPES}
    there = {file.name: file.read_text(encoding="utf-8") for file in DIRECTORY.glob("*.json")}
    if wanted == there:
        return 0
    if check:
        stale = sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))
        sys.stderr.write(f"out of date: {', '.join(stale)}: run python tools/event_schemas.py\n")
        return 1
    DIRECTORY.mkdir(exist_ok=True)
    for name in {*there} - {*wanted}:
        (DIRECTORY / name).unlink()
    for name, text in wanted.items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")
    return 0


def schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema of an event type."""
    made = EVENT_TYPES[event_type].model_json_schema(mode="serialization")
    made["properties"]["type"] = {"const": event_type, "title": "Type", "type": "string"}
    # One class may have several types, each with a schema of its own.
    made["title"] = event_type
    always = (*_ALWAYS, *made.get("required", ()))
    made["required"] = [name for name in made["properties"] if name in always]
    return {"$schema": _DIALECT, **made}


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
