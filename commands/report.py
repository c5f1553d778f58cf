"""`portfire report`: what a recording of events tells, as a page, a picture and a table."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import launchpads
from commands.embedded_launchpad import DEFAULT_FILE
from messaging.errors import UsageError

if TYPE_CHECKING:
    from events.report.critical_path import Workflow
    from events.report.story import Story

_DEFAULT = Path("report.html")
#: Stands for standard output.
_PRINTED = Path("-")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SINCE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "report",
        help="write a report of recorded events: a page, a picture, a table",
        description="Write what EVENTS.jsonl tells as one HTML file that opens offline: a timeline "
        "of all slots, a table of all jobs, how the tasks' times spread, what each phase cost, and "
        "how much of the slots' time was used.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="EVENTS.jsonl",
        help="what `portfire events record` or `portfire run --events` wrote (or .parquet)",
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="only what went on in the last TIME of it, such as 2h or 90s",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=f"the page ({_DEFAULT}, if nothing else)"
    )
    parser.add_argument(
        "--png", type=Path, metavar="FILE", help="the timeline as a picture; .pdf and .svg also"
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="one row for each run of a job; - prints them"
    )
    parser.add_argument(
        "-l",
        "--launchpad_file",
        type=Path,
        metavar="FILE",
        help=f"path to my_launchpad.yaml, or {DEFAULT_FILE}: the page gets the critical path of "
        "its workflows",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write what was asked for; raises UsageError for what cannot be read or written."""
    from events.recording import read_events
    from events.report.story import gather

    since = None if args.since is None else _seconds(args.since)
    if args.file is None:
        raise UsageError(
            "the events of the past are in a recording, and none is named: keep one with `portfire "
            "events record events.jsonl` (or `portfire run --events events.jsonl`), then `portfire "
            "report events.jsonl`"
        )
    page = args.output or (None if args.png or args.csv else _DEFAULT)
    _check_packages(page, args.png)
    story = gather(read_events(args.file), since)
    if not story.runs and not story.executors:
        raise UsageError(f"there is no event in {args.file}: was it recorded?")
    if page is not None:
        write_page(story, page, f"Portfire: {args.file.name}", _workflows(args, story))
    if args.png is not None:
        _write(args.png, lambda: _picture(story, args.png))
    if args.csv is not None:
        _write(args.csv, lambda: _table(story, args.csv))
    told = sys.stderr if args.csv == _PRINTED else sys.stdout
    for path in filter(None, (page, args.png, args.csv)):
        if path != _PRINTED:
            figures = f"{len(story.runs):,} runs of jobs, {len(story.failures):,} failed"
            print(f"{path}: {figures}", file=told)
    return 0


def write_page(story: Story, path: Path, title: str, workflows: Sequence[Workflow] = ()) -> None:
    """Write the page; raises UsageError when it cannot be written."""
    from events.report.page import html

    text = html(story, title, workflows)
    _write(path, lambda: path.write_text(text, encoding="utf-8"))


def _seconds(text: str) -> float:
    match = _SINCE.fullmatch(text)
    if match is None:
        raise UsageError(f"--since {text}: expected a number with s, m, h or d, such as 2h")
    return float(match[1]) * _SECONDS[match[2]]


def _check_packages(page: Path | None, picture: Path | None) -> None:
    for package, path in (("bokeh", page), ("matplotlib", picture)):
        if path is not None and importlib.util.find_spec(package) is None:
            raise UsageError(f"{path} needs the package {package}: pip install 'portfire[report]'")


def _workflows(args: argparse.Namespace, story: Story) -> list[Workflow]:
    """The workflows of the LaunchPad that was named."""
    file: Path | None = args.launchpad_file
    if file is None:
        return []
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    embedded = file.resolve() == DEFAULT_FILE.resolve()
    source = launchpads.open_files(None if embedded else file, None, file if embedded else None)
    try:
        from commands.workflows import workflows_of

        return workflows_of(source.launchpad, story.runs)
    finally:
        source.close()


def _picture(story: Story, path: Path) -> None:
    from events.report.picture import save_picture

    save_picture(story, path)


def _table(story: Story, path: Path) -> None:
    from events.report.rows import write_csv

    if path == _PRINTED:
        write_csv(story, sys.stdout)
        return
    with path.open("w", encoding="utf-8", newline="") as out:
        write_csv(story, out)


def _write(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:  # matplotlib: an ending that it does not know
        raise UsageError(f"cannot write {path}: {exc}") from exc
