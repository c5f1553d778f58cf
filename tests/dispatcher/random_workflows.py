"""Random workflows and random FWActions: the same random numbers give the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from fireworks import Firework, FWAction, Workflow
from fireworks.utilities.fw_serializers import recursive_dict

from tests.dispatcher.workbench import NOTHING, State

Links = list[tuple[int, int]]
#: The tasks of the Firework with this name.
MakeTasks = Callable[[str], Sequence[Any]]


def _nothing(_: str) -> Sequence[Any]:
    return [NOTHING]


def _single(_: Random) -> tuple[int, Links]:
    return 1, []


def _chain(rng: Random) -> tuple[int, Links]:
    size = rng.randint(2, 4)
    return size, [(n, n + 1) for n in range(size - 1)]


def _fan(rng: Random) -> tuple[int, Links]:
    width = rng.randint(2, 5)
    return width + 1, [(0, n) for n in range(1, width + 1)]


def _join(rng: Random) -> tuple[int, Links]:
    width = rng.randint(2, 4)
    return width + 1, [(n, width) for n in range(width)]


def _diamond(rng: Random) -> tuple[int, Links]:
    width = rng.randint(2, 4)
    sides = range(1, width + 1)
    return width + 2, [(0, n) for n in sides] + [(n, width + 1) for n in sides]


def _layers(rng: Random) -> tuple[int, Links]:
    width, depth = rng.randint(2, 3), rng.randint(2, 3)
    pairs = [
        ((layer - 1) * width + above, layer * width + below)
        for layer in range(1, depth)
        for above in range(width)
        for below in range(width)
    ]
    return width * depth, pairs


def _any_dag(rng: Random) -> tuple[int, Links]:
    size = rng.randint(3, 12)
    pairs = [
        (parent, child)
        for child in range(1, size)
        for parent in range(child)
        if rng.random() < 2.0 / size
    ]
    return size, pairs


_SHAPES = [_single, _chain, _fan, _join, _diamond, _layers, _any_dag]


def random_dag(rng: Random) -> tuple[int, Links]:
    """How many nodes, and parents with children."""
    return rng.choice(_SHAPES)(rng)


def random_workflow(
    rng: Random, name: str, tasks: MakeTasks = _nothing, *, duplicates: bool = True
) -> Workflow:
    """A workflow whose Fireworks are named ``<name>.<number>``."""
    size, pairs = random_dag(rng)
    fireworks = [
        Firework(list(tasks(f"{name}.{n}")), _random_spec(rng, duplicates), f"{name}.{n}")
        for n in range(size)
    ]
    links: dict[Firework, list[Firework]] = {}
    for parent, child in pairs:
        links.setdefault(fireworks[parent], []).append(fireworks[child])
    return Workflow(fireworks, links, name=name)


def _random_spec(rng: Random, duplicates: bool) -> dict[str, Any]:
    if duplicates and rng.random() < 0.08:
        return {"_dupefinder": {"_fw_name": "DupeFinderExact"}, "same": rng.randint(0, 1)}
    spec: dict[str, Any] = {"list": [], "count": 0}
    if rng.random() < 0.35:
        spec["_allow_fizzled_parents"] = rng.random() < 0.8
    if rng.random() < 0.3:
        spec["_priority"] = rng.randint(0, 3)
    return spec


@dataclass(frozen=True)
class Outcome:
    """How a launch ends."""

    state: State
    #: ``FWAction.to_dict()``, but for the parents of ``append_wfs``, which are names.
    action: dict[str, Any]

    def told(self, fw_ids: dict[str, int]) -> dict[str, Any]:
        """The FWAction as an executor sends it, where names mean these ids."""
        appended = [
            {**each, "parents": [fw_ids[name] for name in each["parents"]]}
            for each in self.action["append_wfs"]
        ]
        sent: dict[str, Any] = recursive_dict({**self.action, "append_wfs": appended})
        return sent


class Outcomes:
    """Makes the outcomes of launches. Each gives its new Fireworks the ids -1, -2, ..., as the
    processes of different executors do.
    """

    def __init__(
        self, rng: Random, tasks: MakeTasks = _nothing, *, order_matters: bool = True
    ) -> None:
        """`order_matters`: also what comes out otherwise when jobs end in another order."""
        self._rng = rng
        self._tasks = tasks
        self._order_matters = order_matters
        self._new = 0

    def outcome(self, name: str, others: Sequence[str] = (), *, shared: bool = False) -> Outcome:
        """Of the Firework with this name; `others` are Fireworks of its workflow. What has `shared`
        its launch with a duplicate adds nothing: it would be added twice, with one name.
        """
        rng = self._rng
        self._new = 0
        if rng.random() < 0.2:
            return Outcome("FIZZLED", FWAction(stored_data={"broke": name}, exit=True).to_dict())
        fields: dict[str, Any] = {}
        if rng.random() < 0.7:
            for _ in range(rng.randint(1, 3)):
                fields |= rng.choice(self._kinds(name, others, shared))()
        elif rng.random() < 0.5:
            fields = {"stored_data": {"said": name}, "exit": rng.random() < 0.5}
        # Made by hand, since FWAction's own constructor takes Workflows only.
        return Outcome("COMPLETED", FWAction().to_dict() | fields)

    def _kinds(
        self, name: str, others: Sequence[str], shared: bool
    ) -> list[Callable[[], dict[str, Any]]]:
        rng = self._rng
        kinds: list[Callable[[], dict[str, Any]]] = [
            lambda: {"stored_data": {"said": name}},
            lambda: {"update_spec": {f"told by {name}": rng.randint(0, 3)}},
            lambda: (
                {"update_spec": {"told": name}, "propagate": rng.random() < 0.5}
                if self._order_matters
                else {"update_spec": {f"passed by {name}": 1}, "propagate": True}
            ),
            lambda: {"mod_spec": [{"_inc": {"count": 1}}], "propagate": rng.random() < 0.3},
            lambda: {"mod_spec": [{"_set": {f"deep->{name.replace('.', '-')}": 1}}]},
            lambda: {"defuse_children": True},
        ]
        if not shared:
            kinds += [
                lambda: {"additions": [self.new_workflow(name) for _ in range(rng.randint(1, 2))]},
                lambda: {"detours": [self.new_workflow(name)]},
                lambda: {"append_wfs": [self._appended(name, others)]},
            ]
        if self._order_matters:
            kinds += [
                lambda: {"mod_spec": [{"_push": {"list": name}}]},
                lambda: {"defuse_workflow": True},
                # FireWorks cannot apply it where there are children without "absent".
                lambda: {"mod_spec": [{"_unset": {"absent": 1}}]},
            ]
        return kinds

    def _appended(self, name: str, others: Sequence[str]) -> dict[str, Any]:
        rng = self._rng
        known = list(others) if self._order_matters else []
        parents = rng.sample(known, rng.randint(0, min(2, len(known))))
        workflow = self.new_workflow(name)
        return {"workflow": workflow, "detour": rng.random() < 0.4, "parents": parents}

    def new_workflow(self, name: str) -> dict[str, Any]:
        rng = self._rng
        fireworks = [self._new_firework(name) for _ in range(rng.randint(1, 3))]
        links = {}
        if len(fireworks) > 1:
            links = {fireworks[0]: fireworks[1:]} if rng.random() < 0.5 else {}
        made: dict[str, Any] = Workflow(fireworks, links, name="added").to_dict()
        return made

    def _new_firework(self, name: str) -> Firework:
        self._new += 1
        new = f"{name}+{self._new}"
        return Firework(
            list(self._tasks(new)), _random_spec(self._rng, False), new, fw_id=-self._new
        )
