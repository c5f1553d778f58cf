"""`portfire events record`, `replay` and `delete-recording`: events in files."""

from __future__ import annotations

import argparse
import math
import sys
import threading
from pathlib import Path
from typing import Any

from commands import options
from commands.signals import on_stop
from messaging.errors import UsageError
from messaging.settings import PubSubSettings

_FILE = "JSON lines; Parquet if it ends in .parquet"


def add(subparsers: Any) -> None:
    """Declare the three commands below `portfire events`."""
    record = _command(
        subparsers,
        "record",
        _record,
        "keep all events in a file",
        "Keep every event in FILE until stopped. Started again it goes on where it ended: Pub/Sub "
        "keeps the events of up to seven days in between.",
    )
    record.add_argument("file", type=Path, metavar="FILE", help=_FILE)
    record.add_argument(
        "--name", help="name of the recording, of its own for each FILE (default: made from FILE)"
    )
    replay = _command(
        subparsers,
        "replay",
        _replay,
        "publish the events of a file again",
        "Publish the events of FILE again in their order, unchanged: with their ids and times.",
    )
    replay.add_argument("file", type=Path, metavar="FILE", help=_FILE)
    replay.add_argument(
        "--speed",
        default="1",
        metavar="X",
        help="times as fast as they happened, or max: without a pause (default: 1)",
    )
    deletion = _command(
        subparsers,
        "delete-recording",
        _delete,
        "let Pub/Sub keep no more events for a recording",
        "Delete the subscription of a recording. Its file stays.",
    )
    deletion.add_argument("name", metavar="NAME", help="as `portfire events record` said it")


def _command(
    subparsers: Any, name: str, run: Any, about: str, description: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=about,
        description=description,
        # A flag that is not given here must not hide one given before the command.
        argument_default=argparse.SUPPRESS,
    )
    options.add_pubsub(parser)
    parser.set_defaults(run=run)
    return parser


def _record(args: argparse.Namespace) -> int:
    from events.recorder import Recorder

    _refuse_filter(args)
    settings = options.settings(PubSubSettings, args)
    recorder = Recorder(settings, args.file, getattr(args, "name", None))
    how = "goes on" if recorder.goes_on else "begins"
    with on_stop(recorder.stop):
        _say(f"recording {recorder.name} {how} in {args.file}")
        recorder.run()
    skipped = f", left out {recorder.malformed:,} that are none" if recorder.malformed else ""
    _say(
        f"recorded {recorder.recorded:,} events{skipped}; the same command goes on, "
        f"`portfire events delete-recording {recorder.name}` ends it"
    )
    return 0


def _replay(args: argparse.Namespace) -> int:
    from events.replay import replay

    _refuse_filter(args)
    stop = threading.Event()
    speed = _speed(args.speed)
    with on_stop(stop.set):
        count = replay(options.settings(PubSubSettings, args), args.file, speed, stop)
    _say(f"replayed {count:,} events of {args.file}")
    return 0


def _delete(args: argparse.Namespace) -> int:
    from events.recorder import delete_recording

    _refuse_filter(args)
    delete_recording(options.settings(PubSubSettings, args), args.name)
    return 0


def _refuse_filter(args: argparse.Namespace) -> None:
    if args.filter:
        raise UsageError("--filter is for watching: recordings are of all events")


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise UsageError(f"--speed is {text!r}: expected a number over 0, or max")
    return speed


def _say(line: str) -> None:
    print(f"portfire: {line}", file=sys.stderr, flush=True)
