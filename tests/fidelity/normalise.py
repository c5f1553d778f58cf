"""LaunchPad documents in a form in which two runs of the same workflows can be compared.

Ids are replaced by names: a Firework by its own, which must be unique in the LaunchPad, a launch
by its Firework's name and the how-manieth it was, a Firework inside an action (its id is negative)
by the order of appearance. Directories become ``<launch ...>`` and
``<directory>``, times ``<time>``, or ``<date>`` where they are not text. Hosts and Mongo's own ids
go; so do RESERVED entries of the state history and a launch's reserved time, since rapidfire
reserves nothing.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fireworks import LaunchPad

Document = dict[str, Any]

#: 2020 is the year of the times that scenarios store on purpose.
_TIME = re.compile(r"(?!2020)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)?")
_UNSAVED = re.compile(r"-\d+")
#: A frame is a line with its place and lines that are further indented.
_OUR_FRAMES = re.compile(r'  File "[^"]*/executor/rocket_run\.py".*\n(?:    .*\n)*')
_DROPPED = frozenset({"_id", "host", "ip", "hostname", "reservation_id", "reservedtime_secs"})
_TIMES = frozenset(
    {"created_on", "updated_on", "time_start", "time_end", "runtime_secs", "last_pinged"}
)
_FIREWORK_IDS = frozenset({"fw_id", "nodes", "_fw_id", "links", "parent_links"})
_LINKS = frozenset({"links", "parent_links"})
_LAUNCH_IDS = frozenset({"launch_id", "launches", "archived_launches", "_launch_id"})
#: A list under this key may come in any order (two parents pushed to it).
UNORDERED = "unordered"
#: Those of archived launches come from a set.
_SETS = frozenset({UNORDERED, "archived_launches"})


@dataclass(frozen=True)
class Names:
    """What replaces ids and directories in one LaunchPad."""

    fireworks: Mapping[int, str]
    launches: Mapping[int, str]
    #: Directory to what stands for it, longer directories first.
    directories: Mapping[str, str]

    #: Ids of Fireworks that are not in the LaunchPad, as text, by order of appearance.
    unsaved: list[str] = field(default_factory=list)

    def firework(self, value: int) -> str:
        """The name that stands for a Firework's id."""
        return self.fireworks.get(value) or self.text(str(value))

    def launch(self, value: int) -> str:
        """The name that stands for a launch's id."""
        return self.launches.get(value, str(value))

    def text(self, value: str) -> str:
        """`value` without directories, times and ids of unsaved Fireworks."""
        if _UNSAVED.fullmatch(value):
            if value not in self.unsaved:
                self.unsaved.append(value)
            return f"<unsaved {self.unsaved.index(value)}>"
        for directory, name in self.directories.items():
            value = value.replace(directory, name)
        return _TIME.sub("<time>", value)


def comparable(launchpad: LaunchPad, directory: Path) -> dict[str, Document]:
    """Everything in `launchpad`, run below `directory`: the documents by kind and name."""
    fireworks = list(launchpad.fireworks.find({}))
    launches = list(launchpad.launches.find({}).sort("launch_id"))
    names = _names(fireworks, launches, directory)
    documents: dict[str, Document] = {}
    for firework in fireworks:
        documents[f"firework {names.fireworks[firework['fw_id']]}"] = _document(firework, names)
    for launch in launches:
        documents[names.launches[launch["launch_id"]]] = _document(launch, names)
    for workflow in launchpad.workflows.find({}):
        documents[f"workflow {workflow['name']}"] = _workflow(workflow, names)
    return documents


def differences(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Where two comparable forms differ, one line each: place, ours, theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{place}/{key}: only ours: {ours[key]!r}" for key in ours if key not in theirs]
        found += [
            f"{place}/{key}: only theirs: {theirs[key]!r}" for key in theirs if key not in ours
        ]
        for key in ours.keys() & theirs.keys():
            found += differences(ours[key], theirs[key], f"{place}/{key}")
        return sorted(found)
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [line for n, (a, b) in pairs for line in differences(a, b, f"{place}/{n}")]
    # 1 == 1.0 == True, but not in a document.
    same = type(ours) is type(theirs) and (ours == theirs or repr(ours) == repr(theirs))
    return [] if same else [f"{place}: ours {ours!r}, theirs {theirs!r}"]


def launch_order(launchpad: LaunchPad) -> list[str]:
    """Names of the Fireworks that ran, in the order in which their launches started."""
    started = sorted(launchpad.launches.find({"time_start": {"$ne": None}}), key=_start)
    names = {item["fw_id"]: item["name"] for item in launchpad.fireworks.find({})}
    return [names[launch["fw_id"]] for launch in started]


def _start(launch: Document) -> str:
    return str(launch["time_start"])


def _names(fireworks: list[Document], launches: list[Document], directory: Path) -> Names:
    by_id = {item["fw_id"]: item["name"] for item in fireworks}
    twice = [name for name, count in Counter(by_id.values()).items() if count > 1]
    if twice:
        raise AssertionError(f"scenarios must give each Firework a name of its own: {twice}")
    tries: Counter[str] = Counter()
    launch_names, directories = {}, {}
    for launch in launches:
        firework = by_id[launch["fw_id"]]
        tries[firework] += 1
        launch_names[launch["launch_id"]] = f"launch {tries[firework]} of {firework}"
        # A directory that the scenario chose (_launch_dir) is compared as it is.
        if _made_for_launch(launch["launch_dir"], directory):
            directories[launch["launch_dir"]] = f"<{launch_names[launch['launch_id']]}>"
    longest_first = dict(sorted(directories.items(), key=lambda item: -len(item[0])))
    return Names(by_id, launch_names, {**longest_first, str(directory): "<directory>"})


def _made_for_launch(launch_dir: str | None, directory: Path) -> bool:
    path = Path(launch_dir or ".")
    return path.is_relative_to(directory) and not path.name.startswith("chosen")


def _workflow(workflow: Document, names: Names) -> Document:
    plain = _document(workflow, names)
    plain["nodes"] = sorted(plain["nodes"])
    for relation in ("links", "parent_links"):
        plain[relation] = {
            names.fireworks[int(one)]: sorted(names.fireworks[other] for other in others)
            for one, others in workflow[relation].items()
        }
    plain["fw_states"] = {
        names.fireworks[int(one)]: state for one, state in workflow["fw_states"].items()
    }
    return plain


def _document(document: Document, names: Names) -> Document:
    """One whole document; unsaved Fireworks are numbered within it."""
    plain: Document = _plain(document, replace(names, unsaved=[]))
    return plain


def _plain(value: Any, names: Names, key: str = "") -> Any:
    if key in _TIMES:
        return _time(value)
    if isinstance(value, dict):
        return {
            names.text(name): _plain(inner, names, key if key in _LINKS else name)
            for name, inner in value.items()
            if name not in _DROPPED
        }
    if isinstance(value, list):
        if key == "state_history":
            value = [entry for entry in value if entry["state"] != "RESERVED"]
        plain = [_plain(inner, names, key) for inner in value]
        return sorted(plain, key=repr) if key in _SETS else plain
    if isinstance(value, int) and key in _FIREWORK_IDS:
        return names.firework(value)
    if isinstance(value, int) and key in _LAUNCH_IDS:
        return names.launch(value)
    if not isinstance(value, str):
        return value
    return names.text(_traceback(value) if key == "_stacktrace" else value)


def _time(value: Any) -> str | None:
    """`lpad report` compares text with text: which kind it is matters."""
    if value is None:
        return None
    return "<date>" if isinstance(value, datetime.datetime) else "<time>"


def _traceback(text: str) -> str:
    """A traceback as FireWorks alone would have it."""
    if "in complete_launch\n" in text:
        return text.splitlines()[-1].partition(":")[0]
    return _OUR_FRAMES.sub("", text)
