"""`portfire storage`: files in a store, seen as an executor sees them."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from messaging.errors import UsageError

_EPILOG = (
    "A name that ends in / is a tree. Stores are named by URLs (gs://, s3://, gsiftp://, https://, "
    "file://, ...), or by portfire-storage:NAME for what --storage or --settings choose."
)


def add(subparsers: Any) -> None:
    """Declare the command and those below it."""
    parser = subparsers.add_parser(
        "storage",
        help="list, copy and check files in a store",
        description="What an executor sees of a store: list it, copy files, check permissions.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(metavar="ls|cp|check", required=True)
    listing = _command(commands, "ls", _list, "list a file or tree")
    listing.add_argument("-l", "--long", action="store_true", help="sizes and versions too")
    listing.add_argument("--json", action="store_true", help="a JSON object a line")
    listing.add_argument("url", metavar="URL", help="a URL, or a name in the storage")
    copying = _command(commands, "cp", _copy, "copy a file or tree to, from or between stores")
    copying.add_argument("--json", action="store_true", help="tell what was copied as JSON")
    copying.add_argument("source", metavar="SOURCE", help="a URL, or a local path")
    copying.add_argument("target", metavar="TARGET", help="a URL, or a local path")
    checking = _command(
        commands, "check", _check, "write, read, list and delete a probe; say what is missing"
    )
    checking.add_argument("--json", action="store_true", help="tell of all steps as JSON")
    checking.add_argument("url", metavar="URL", help="a folder: a URL, or a name in the storage")


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    from commands.storage_names import add_flags

    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about[0].upper() + about[1:] + ".", epilog=_EPILOG
    )
    add_flags(parser)
    parser.set_defaults(run=run)
    return parser


def _list(args: argparse.Namespace) -> int:
    from commands.storage_names import stored
    from storage_backends.errors import StorageNotFoundError
    from storage_backends.paths import is_tree
    from storage_backends.pool import TransferPool

    asked = stored(args.url, args)
    name = asked.name
    with asked.open(TransferPool()) as backend:
        try:
            entries = backend.entries(name)
        except StorageNotFoundError:
            if not name or is_tree(name):
                raise
            name = f"{name}/"
            entries = backend.entries(name)
    for entry in entries:
        # A tree's own placeholder is no news.
        shown = entry.name.removeprefix(name) if is_tree(name) else entry.name
        if args.json:
            print(json.dumps({"name": shown, "size": entry.size, "version": entry.version}))
        elif args.long:
            print(f"{entry.size:>15,}  {entry.version or '-':<20}  {shown}")
        elif shown:
            print(shown)
    return 0


def _copy(args: argparse.Namespace) -> int:
    from commands.storage_names import in_a_store
    from commands.transfer_progress import shown_progress

    if not in_a_store(args.source) and not in_a_store(args.target):
        raise UsageError("both are local paths: name a store by a URL, or portfire-storage:NAME")
    with shown_progress() as watch:
        moved = _moved(args, watch)
    if args.json:
        print(json.dumps({"source": args.source, "target": args.target, **moved}))
    else:
        checksum = f", {moved['checksum']}" if moved["checksum"] else ""
        print(f"{moved['bytes']:,} bytes in {moved['seconds']:.1f} s{checksum}")
    return 0


def _moved(args: argparse.Namespace, watch: Any) -> dict[str, Any]:
    """Copy; what was moved. A copy between two stores goes through a temporary directory."""
    from commands.storage_names import in_a_store, stored
    from storage_backends.pool import TransferPool

    pool = TransferPool()
    if not in_a_store(args.target):
        source = stored(args.source, args)
        with source.open(pool) as backend:
            target = _local_target(args.target, source.name)
            transfer = backend.fetch(_named(source.name, args.source), target, watch=watch)
    elif not in_a_store(args.source):
        transfer = _put(Path(args.source), args.source, stored(args.target, args), pool, watch)
    else:
        source, last = stored(args.source, args), stored(args.target, args)
        name = _named(source.name, args.source)
        with tempfile.TemporaryDirectory(prefix="portfire-cp-") as directory:
            between = Path(directory) / name.rstrip("/").rpartition("/")[2]
            with source.open(pool) as backend:
                backend.fetch(name, between, watch=watch)
            transfer = _put(between, name, last, pool, watch)
    return {"bytes": transfer.bytes, "seconds": transfer.seconds, "checksum": transfer.checksum}


def _put(source: Path, text: str, target: Any, pool: Any, watch: Any) -> Any:
    from storage_backends.paths import is_tree

    name = target.name
    if source.is_dir() and not is_tree(text):
        raise UsageError(f"{text} is a directory: write {text}/ to copy it as a tree")
    if not source.exists():
        raise UsageError(f"{text}: no such file or directory")
    if is_tree(text):
        if not name:
            raise UsageError(f"{target.text} is a whole store: name a tree in it, such as data/")
        if not is_tree(name):
            raise UsageError(f"{target.text}: a tree goes to a tree: write a / at its end")
        within = source
    else:
        within = source.absolute().parent
        # Into a folder, under its own name.
        name = f"{name}{source.name}" if is_tree(name) or not name else name
    with target.open(pool) as backend:
        return backend.store(source.absolute(), name, within=within.absolute(), watch=watch)


def _named(name: str, text: str) -> str:
    if not name:
        raise UsageError(f"{text} is a whole store: name a file or a tree in it")
    return name


def _local_target(text: str, name: str) -> Path:
    """Where the file or tree `name` goes: a file into a directory under its own name."""
    from storage_backends.paths import is_tree

    path = Path(text)
    if not is_tree(name) and (text.endswith("/") or path.is_dir()):
        path /= name.rpartition("/")[2]
    return path.absolute()


def _check(args: argparse.Namespace) -> int:
    from commands.storage_check import check
    from commands.storage_names import stored

    steps = check(stored(args.url, args), None if args.json else print)
    if args.json:
        print(json.dumps({"url": args.url, "steps": [step.to_dict() for step in steps]}))
    return 0 if all(step.ok for step in steps) else 1
