"""What the storage benchmark measures: cases of contenders that do the same, with their goals."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.files import check_tree, make_large, make_tree
from benchmarks.object_server import Server, serving
from benchmarks.storage_table import Goal

_OURS = "Portfire gcs"
_BOREALIS = "Borealis' way"
_MANAGERS = ("transfer_manager, 8 threads", "transfer_manager, 32 threads")
_CACHED = ("Portfire gcs, cached, copied", "Portfire gcs, cached, linked")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is moved, how often, and where."""

    #: On a file system in memory, so that the disk is no part of the figures.
    directory: Path
    #: On another file system: where jobs work when ``directory`` is the mounted one.
    disk: Path
    runs: int = 5
    files: int = 1_000
    large_mib: tuple[int, ...] = (1_024, 128)
    cached_mib: int = 256
    delays_ms: tuple[float, ...] = (0, 20)


@dataclass(frozen=True, slots=True)
class Case:
    """Movements of the same by several contenders. A label is a movement's own."""

    title: str
    #: By name, what each is made ready with: `contenders.CONTENDERS`' arguments, by label.
    contenders: Mapping[str, Callable[[str], list[str]]]
    #: ``fetch`` or ``store``, and its two arguments, by label.
    movement: Callable[[str], tuple[str, str, str]]
    #: Check and clear away what a movement made, by label.
    finish: Callable[[str], None]
    files: int = 1
    goals: Mapping[str, Goal] = field(default_factory=dict)
    server: Server | None = None


def small(plan: Plan) -> Iterator[Case]:
    """A tree of small files from and to Google Cloud Storage."""
    make_tree(plan.directory / "tree", plan.files)
    for delay in plan.delays_ms:
        title = f"{plan.files} files of 10 KB, {delay:g} ms a request"
        goal = Goal((_BOREALIS,), 12, at_least=True) if delay else Goal(_MANAGERS, 1)
        with serving(delay_ms=delay, files=plan.files) as server:
            contenders = dict.fromkeys((_BOREALIS, *_MANAGERS, _OURS), _at(server.url))
            yield _fetch(plan, title, contenders, {_OURS: goal}, "tree/", server)
            yield _store(plan, title, contenders, {_OURS: goal}, "tree/", server)


def large(plan: Plan) -> Iterator[Case]:
    """One large file from and to Google Cloud Storage; a smaller one, to compare the memory."""
    for size in plan.large_mib:
        make_large(plan.directory / "large", size)
        largest = size == plan.large_mib[0]
        goals = {_OURS: Goal(("requests",), 1.2)} if largest else {}
        for delay in plan.delays_ms if largest else plan.delays_ms[:1]:
            title = f"one file of {size} MiB, {delay:g} ms a request"
            with serving(delay_ms=delay, large_mib=size) as server:
                contenders = dict.fromkeys(("requests", _OURS), _at(server.url))
                yield _fetch(plan, title, contenders, goals, "large", server)
                yield _store(plan, title, contenders, goals, "large", server)


def mounted(plan: Plan) -> Iterator[Case]:
    """Small files and a large one from and to a mounted file system."""
    size = plan.large_mib[0]
    shared = plan.directory / "shared"
    for directory in (plan.disk, shared):
        make_tree(directory / "tree", plan.files)
        make_large(directory / "large", size)
    (shared / "out").mkdir()
    contenders = dict.fromkeys(("cp", "Portfire nfs"), _at(str(shared)))
    local = replace(plan, directory=plan.disk)
    for title, name, factor in (
        (f"{plan.files} files of 10 KB, mounted", "tree/", 1.3),
        (f"one file of {size} MiB, mounted", "large", 1.1),
    ):
        goals = {"Portfire nfs": Goal(("cp",), factor)}
        yield _fetch(local, title, contenders, goals, name)
        stored = _store(local, title, contenders, goals, name)
        yield replace(stored, finish=lambda label: _clear(shared / "out" / label))


def cached(plan: Plan) -> Iterator[Case]:
    """An input that the executor has had already, beside its first fetch."""
    goals = dict.fromkeys(_CACHED, Goal((_OURS,), 0.05))
    with serving(large_mib=plan.cached_mib) as server:

        def ready(label: str) -> list[str]:
            return [server.url, str(plan.directory / f"cache-{label}"), "large"]

        contenders = {_OURS: _at(server.url), **dict.fromkeys(_CACHED, ready)}
        title = f"one input of {plan.cached_mib} MiB, again, 0 ms a request"
        yield _fetch(plan, title, contenders, goals, "large")


#: By the word that asks for them.
SECTIONS: Mapping[str, Callable[[Plan], Iterator[Case]]] = {
    "small": small,
    "large": large,
    "mounted": mounted,
    "cached": cached,
}


def _at(place: str) -> Callable[[str], list[str]]:
    return lambda _: [place]


def _fetch(
    plan: Plan,
    title: str,
    contenders: Mapping[str, Callable[[str], list[str]]],
    goals: Mapping[str, Goal],
    name: str,
    server: Server | None = None,
) -> Case:
    """Each fetches `name`."""
    files = plan.files if name.endswith("/") else 1

    def finish(label: str) -> None:
        target = plan.directory / label
        if name.endswith("/"):
            check_tree(target, files)
        _clear(target)
        _clear(plan.directory / f"cache-{label}")

    return Case(
        f"{title}: fetch",
        contenders,
        lambda label: ("fetch", name, str(plan.directory / label)),
        finish,
        files,
        goals,
        server,
    )


def _store(
    plan: Plan,
    title: str,
    contenders: Mapping[str, Callable[[str], list[str]]],
    goals: Mapping[str, Goal],
    name: str,
    server: Server | None = None,
) -> Case:
    """Each stores what `name` holds, under a name of its own."""
    slash = "/" if name.endswith("/") else ""
    return Case(
        f"{title}: store",
        contenders,
        lambda label: ("store", str(plan.directory / name), f"out/{label}{slash}"),
        lambda _: None,  # the server ends with the case
        plan.files if slash else 1,
        goals,
        server,
    )


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
