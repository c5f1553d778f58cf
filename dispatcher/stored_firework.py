"""A Firework of a stored workflow, as FireWorks' `Workflow` wants it, loaded only when needed."""

from __future__ import annotations

from typing import Any

from fireworks import Firework, Workflow
from fireworks.core.launchpad import get_action_from_gridfs

from dispatcher.launch_documents import ACTIVE
from dispatcher.opaque import opaque
from dispatcher.workflow_errors import WorkflowMissingError


class StoredFirework:
    """A Firework that is read from the database when FireWorks first asks for its contents.

    Has what `Workflow` uses of a Firework. Not thread-safe.
    """

    parents: list[Any] = []

    def __init__(self, fw_id: int, launchpad: Any) -> None:
        self.fw_id = fw_id
        self._launchpad = launchpad
        self._firework: Any = None
        #: Whether the end of its launch, if it has ended, has been carried in.
        self.knows_end = False
        self._was_active = False

    @property
    def firework(self) -> Any:
        """FireWorks' own object, with launches; its tasks are `Opaque`."""
        if self._firework is None:
            self._firework = self._load()
        return self._firework

    @property
    def state(self) -> str:
        """State by the Firework's own document (the workflow's copy may lag)."""
        return str(self.firework.state)

    @state.setter
    def state(self, state: str) -> None:
        self.firework.state = state

    @property
    def spec(self) -> dict[str, Any]:
        """The spec, for reading and changing."""
        spec: dict[str, Any] = self.firework.spec
        return spec

    @property
    def name(self) -> str:
        """Name of the Firework."""
        return str(self.firework.name)

    @property
    def launches(self) -> list[Any]:
        """FireWorks' Launch objects, but for those whose end is still to be carried in: what is
        appended to the Firework before that would be given their FWAction twice.
        """
        launches = list(self.firework.launches)
        # By the state that it was read with: another's FWAction may have defused it since.
        if self._was_active and not self.knows_end:
            return [launch for launch in launches if launch.state in ACTIVE]
        return launches

    def to_dict(self) -> dict[str, Any]:
        """Serialised with its launches."""
        serialised: dict[str, Any] = self.firework.to_dict()
        return serialised

    def to_db_dict(self) -> dict[str, Any]:
        """Serialised as the fireworks collection holds it."""
        serialised: dict[str, Any] = self.firework.to_db_dict()
        return serialised

    def _load(self) -> Any:
        document = self._launchpad.fireworks.find_one({"fw_id": self.fw_id}, {"_id": 0})
        if document is None:
            raise WorkflowMissingError(f"Firework {self.fw_id} is gone from the LaunchPad")
        self._was_active = document.get("state") in ACTIVE
        for field in ("launches", "archived_launches"):
            document[field] = self._launch_documents(document.get(field, []))
        return Firework.from_dict(opaque(document))

    def _launch_documents(self, launch_ids: list[int]) -> list[dict[str, Any]]:
        if not launch_ids:
            return []
        found = self._launchpad.launches.find({"launch_id": {"$in": launch_ids}}, {"_id": 0})
        documents = []
        for launch in found:
            stored = launch.get("action")
            launch["action"] = get_action_from_gridfs(stored, self._launchpad.gridfs_fallback)
            documents.append(launch)
        return sorted(documents, key=lambda launch: int(launch["launch_id"]))


class StoredWorkflow(Workflow):
    """FireWorks' own `Workflow`, of `StoredFirework`s."""

    def refresh(self, fw_id: int, updated_ids: set[int] | None = None) -> set[int]:
        """As FireWorks does it."""
        firework = self.id_fw[fw_id]
        if isinstance(firework, StoredFirework):
            firework.knows_end = True
        refreshed: set[int] = super().refresh(fw_id, updated_ids)
        return refreshed
