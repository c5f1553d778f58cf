"""The embedded LaunchPad from outside, through FireWorks' own mongomock option."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fireworks import Workflow

from tests.faults.site import environment

FILE = Path(".portfire") / "launchpad.json"

_ADD_TO_EMBEDDED = """
import json, sys
from fireworks import LaunchPad, Workflow
launchpad = LaunchPad(strm_lvl="CRITICAL")
launchpad.reset("", require_password=False)
launchpad.add_wf(Workflow.from_dict(json.loads(sys.argv[1])))
"""


def add_to_embedded(directory: Path, workflow: Workflow) -> None:
    """Add a workflow, as lpad would."""
    file = directory / FILE
    file.parent.mkdir()
    file.write_text("{}")
    subprocess.run(
        [sys.executable, "-c", _ADD_TO_EMBEDDED, json.dumps(workflow.to_dict(), default=str)],
        env=environment(directory, MONGOMOCK_SERVERSTORE_FILE=str(file)),
        cwd=directory,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )


def embedded_states(directory: Path) -> dict[str, str]:
    """The states of the Fireworks by name, as the file has them now."""
    content = json.loads((directory / FILE).read_text())
    rows = content.get("fireworks", {}).get("fireworks", {}).get("documents", [])
    return {document["name"]: document["state"] for _, document in rows}
