"""Firetasks of the scenarios: each does one thing that a LaunchPad document shows."""

from __future__ import annotations

import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from fireworks import FiretaskBase, FWAction, explicit_serialize


@explicit_serialize
class Act(FiretaskBase):
    """Return the FWAction whose fields are the task's parameters."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        return FWAction(**{name: value for name, value in self.items() if name != "_fw_name"})


@explicit_serialize
class Remember(FiretaskBase):
    """Store what the spec holds under `keys`; with `as_key`, pass it on to the children too."""

    required_params = ["keys"]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        seen = {key: fw_spec.get(key, "<absent>") for key in self["keys"]}
        return FWAction(stored_data={"seen": seen})


@explicit_serialize
class RememberFile(FiretaskBase):
    """Store the content of a file of the launch directory."""

    required_params = ["file"]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        return FWAction(stored_data={self["file"]: Path(self["file"]).read_text()})


@explicit_serialize
class RememberPlace(FiretaskBase):
    """Store where the task runs, and which of the usual files lie there."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        return FWAction(
            stored_data={
                "directory": str(Path.cwd()),
                "described": Path("FW.json").exists(),
                "name": json.loads(Path("FW.json").read_text())["name"],
            }
        )


@explicit_serialize
class RememberSelf(FiretaskBase):
    """Store the fw_id that `_add_launchpad_and_fw_id` gave, and the FWorker of `_add_fworker`."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        stored: dict[str, Any] = {"has_launchpad": getattr(self, "launchpad", None) is not None}
        if fw_spec.get("_add_launchpad_and_fw_id"):
            stored["fw_id"] = self.fw_id
        if fw_spec.get("_add_fworker"):
            stored["fworker"] = self.fworker.name
        return FWAction(stored_data=stored)


@explicit_serialize
class AskLaunchPad(FiretaskBase):
    """Ask the LaunchPad for something that only the database knows."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        firework = self.launchpad.get_fw_by_id(self.fw_id)
        return FWAction(stored_data={"name": firework.name})


class DescribedError(Exception):
    """An exception with details for FireWorks to store."""

    def to_dict(self) -> dict[str, Any]:
        return {"said": str(self), "code": 7}


@explicit_serialize
class Fail(FiretaskBase):
    """Fail in the way named by `how`."""

    required_params = ["how"]

    def run_task(self, fw_spec: dict[str, Any]) -> Any:  # noqa: ARG002 - FireWorks' signature
        how = self["how"]
        if how == "raise":
            raise ValueError("a value that is wrong: ä, 'quotes' and\ntwo lines")
        if how == "details":
            raise DescribedError("with details")
        if how == "exit":
            sys.exit("the task called sys.exit")
        if how == "no action":
            return "not an FWAction"
        if how == "key":
            return FWAction(stored_data={"keys": {1: "MongoDB wants text"}})
        if how == "number":
            return FWAction(stored_data={"number": 2**70})
        raise AssertionError(how)


@explicit_serialize
class FailOnce(FiretaskBase):
    """Fail the first time, succeed once the `flag` file exists."""

    required_params = ["flag"]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        if not Path(self["flag"]).exists():
            Path(self["flag"]).touch()
            raise RuntimeError("the first time")
        return FWAction(stored_data={"second": "time"})


@explicit_serialize
class Odd(FiretaskBase):
    """Store values that are not JSON as they are."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        moment = datetime.datetime(2020, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
        return FWAction(
            stored_data={
                "moment": moment,
                "day": moment.date(),
                "tuple": (1, (2.5, None)),
                "text": "Grüße, 世界 \U0001f386",
                "bytes": b"abc",
                "path": Path("a/b"),
                "set": {1},
                "infinite": float("inf"),
                "large": 2**62,
                "complex": 1j,
                "no": None,
                "$dollar": {"with.dot": True},
            },
            update_spec={"moment": moment, "nested": {"list": [{"deep": (1, 2)}]}},
        )


@explicit_serialize
class Append(FiretaskBase):
    """Append a line to the file that the spec names as `log` (also used in the background)."""

    required_params = ["line"]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction | None:
        with Path(fw_spec["log"]).open("a") as log:
            log.write(f"{self['line']}\n")
        return None


@explicit_serialize
class WaitForLine(FiretaskBase):
    """Wait until the file that the spec names as `log` has a line."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction | None:
        log = Path(fw_spec["log"])
        deadline = time.monotonic() + 20
        while not (log.exists() and log.read_text().endswith("\n")):
            if time.monotonic() > deadline:
                raise TimeoutError("no background task wrote its line within 20 s")
            time.sleep(0.02)  # it writes from a thread that we cannot join
        return None
