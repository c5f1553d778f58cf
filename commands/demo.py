"""`portfire demo`: the word count example on this machine, with nothing but pip."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from commands.embedded_launchpad import DEFAULT_FILE
from commands.launchpads import Source, open_files
from messaging.errors import PortfireError, UsageError

_FOLDER = Path(".portfire") / "demo"
_EVENTS = _FOLDER / "events.jsonl"
_REPORT = _FOLDER / "report.html"
_SHOWN_WORDS = 10


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demo",
        help="run the word count example on this machine",
        description="Run examples/wordcount: split texts, count the words of each part, merge. "
        "Uses the embedded broker and LaunchPad, an executor with two threads, and the nfs storage "
        "backend; tasks run in Docker containers where an engine answers.",
    )
    parser.add_argument("--parts", type=int, default=4, metavar="N", help="parts to count (4)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the example; 1 when a job failed."""
    from rich.console import Console

    from commands.kept_events import KeptEvents
    from commands.local_run import run_launchpad
    from commands.summary import job_table, print_summary
    from executor.settings import ExecutorSettings

    if args.parts < 1:
        raise UsageError(f"--parts is {args.parts}: there must be one at least")
    _check_example()
    _make_folder()
    console = Console(soft_wrap=True, highlight=False)
    folder = _FOLDER.resolve()
    settings = ExecutorSettings(threads=2, storage="nfs", workdir=Path(".portfire") / "work")

    opened: list[Source] = []

    def open_source() -> Source:
        source = open_files(None, None, DEFAULT_FILE)
        opened.append(source)
        _add_workflow(source, folder, args.parts, console)
        return source

    kept = KeptEvents(_EVENTS)
    try:
        result, records = run_launchpad(open_source, settings, on_event=kept.keep)
    finally:
        kept.close()
    console.print(job_table(records))
    console.print()
    print_summary(console, result, records)
    _write_report(console, opened[0])
    if result.counts.fizzled:
        return 1
    if result.stopped:
        return 130  # as of a program that SIGINT ended
    _print_answer(console, folder)
    console.print(f"LaunchPad: {result.lpad} get_wflows -d more")
    return 0


def _make_folder() -> None:
    try:
        _FOLDER.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PortfireError(f"the demo cannot make {_FOLDER}: {exc.strerror or exc}") from exc


def _write_report(console: Any, source: Source) -> None:
    """What the demo did, as a page; without it the demo is as good."""
    if importlib.util.find_spec("bokeh") is None:
        console.print(f"events: {_EVENTS} (for a report: pip install 'portfire[report]')")
        return
    from commands.report import write_page
    from commands.workflows import workflows_of
    from events.recording import read_events
    from events.report.story import gather

    story = gather(read_events(_EVENTS))
    try:
        write_page(story, _REPORT, "Portfire: demo", workflows_of(source.launchpad, story.runs))
    except PortfireError as exc:
        console.print(f"no report: {exc}")
        return
    console.print(f"report: open {_REPORT.resolve()} in a browser", soft_wrap=True)


def _check_example() -> None:
    try:
        import examples.wordcount  # noqa: F401 - only to see whether it is there
    except ImportError as exc:
        raise UsageError(
            "the demo's files are not here: run it in a checkout of Portfire (make demo)"
        ) from exc


def _add_workflow(source: Source, folder: Path, parts: int, console: Any) -> None:
    # Imported late: FireWorks decides at import which database it uses.
    from examples.wordcount.workflow import build, choose_image, prepare

    _forget_unfinished(source.launchpad)
    try:
        prepare(folder)
    except OSError as exc:
        raise PortfireError(
            f"the demo cannot prepare {folder}: {exc.strerror}: {exc.filename}"
        ) from exc
    image, reason = choose_image()
    console.print(f"counting the words of the texts in {folder / 'texts'}")
    console.print(reason)
    source.launchpad.add_wf(build(folder, parts, image))


def _forget_unfinished(launchpad: Any) -> None:
    """What an interrupted demo left would run now, and find its files gone."""
    unfinished = {"name": "wordcount", "state": {"$ne": "COMPLETED"}}
    for workflow in list(launchpad.workflows.find(unfinished, {"nodes": 1})):
        launchpad.delete_wf(workflow["nodes"][0])


def _print_answer(console: Any, folder: Path) -> None:
    from examples.wordcount.workflow import RESULT, answer

    words = answer(folder)
    most = ", ".join(f"{word} {count}" for word, count in words[:_SHOWN_WORDS])
    total = sum(count for _, count in words)
    console.print(f"answer: {total:,} words, {len(words):,} different; most frequent: {most}")
    console.print(f"outputs: {folder / RESULT} and the folders beside it")
