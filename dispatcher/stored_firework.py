"""A Firework of a stored workflow, as FireWorks' `Workflow` wants it, loaded only when needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
        load([self])
        if self._firework is None:
            raise WorkflowMissingError(f"Firework {self.fw_id} is gone from the LaunchPad")
        return self._firework

    def take(self, document: dict[str, Any], launches: Mapping[int, dict[str, Any]]) -> None:
        """Be what was read: the Firework's document, and those of launches by their ids."""
        self._was_active = document.get("state") in ACTIVE
        for field in ("launches", "archived_launches"):
            ids = sorted(document.get(field, []))
            document[field] = [launches[launch_id] for launch_id in ids if launch_id in launches]
        self._firework = Firework.from_dict(opaque(document))

    @property
    def is_loaded(self) -> bool:
        """Whether it has been read."""
        return self._firework is not None

    @property
    def launchpad(self) -> Any:
        """Where it is stored."""
        return self._launchpad


def load(fireworks: Iterable[StoredFirework]) -> None:
    """Read those that have not been read, all of one LaunchPad, in two round trips.

    Those that are gone from the LaunchPad stay as they are.
    """
    wanted = {each.fw_id: each for each in fireworks if not each.is_loaded}
    if not wanted:
        return
    launchpad = next(iter(wanted.values())).launchpad
    documents = list(launchpad.fireworks.find({"fw_id": {"$in": list(wanted)}}, {"_id": 0}))
    launches = _launches(launchpad, documents)
    for document in documents:
        wanted[document["fw_id"]].take(document, launches)


def _launches(launchpad: Any, fireworks: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The documents of all launches of these Fireworks, by their ids."""
    ids = [
        launch_id
        for firework in fireworks
        for field in ("launches", "archived_launches")
        for launch_id in firework.get(field, [])
    ]
    if not ids:
        return {}
    launches = {}
    for launch in launchpad.launches.find({"launch_id": {"$in": ids}}, {"_id": 0}):
        action = get_action_from_gridfs(launch.get("action"), launchpad.gridfs_fallback)
        launches[int(launch["launch_id"])] = {**launch, "action": action}
    return launches


class Links(Workflow.Links):
    """FireWorks' own, which work out anew whose parents are who for each question.

    Links are only ever added, so that their number tells whether something has changed.
    """

    _parents: tuple[int, dict[int, list[int]]] | None = None

    @property
    def parent_links(self) -> dict[int, list[int]]:
        """The parents of each child; to be read only."""
        size = len(self) + sum(map(len, self.values()))
        if self._parents is None or self._parents[0] != size:
            self._parents = size, super().parent_links
        return self._parents[1]


class StoredWorkflow(Workflow):
    """FireWorks' own `Workflow`, of `StoredFirework`s."""

    links: Any

    def __init__(self, fireworks: Sequence[StoredFirework], *args: Any) -> None:
        super().__init__(fireworks, *args)
        self.links = Links(self.links)

    def refresh(self, fw_id: int, updated_ids: set[int] | None = None) -> set[int]:
        """As FireWorks does it."""
        firework = self.id_fw[fw_id]
        if isinstance(firework, StoredFirework):
            firework.knows_end = True
            if firework.state in ACTIVE:  # it has ended, and its children are asked for next
                children = [self.id_fw[child] for child in self.links[fw_id]]
                load(each for each in children if isinstance(each, StoredFirework))
        refreshed: set[int] = super().refresh(fw_id, updated_ids)
        return refreshed
