"""How `portfire storage` is told of a file or tree in a store: by a URL, or a name in a storage."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from messaging.errors import UsageError
from storage_backends.contract import StorageBackend
from storage_backends.paths import PathError, checked_name, is_tree
from storage_backends.places.choice import Defaults, Place, place
from storage_backends.places.locations import OWN, is_url
from storage_backends.pool import TransferPool
from storage_backends.registry import open_backend


@dataclass(frozen=True)
class Stored:
    """A file or tree of a store."""

    #: As it was written.
    text: str
    place: Place
    #: Below the store's root; a tree ends in ``/``, and ``""`` is all that the store holds.
    name: str

    def open(self, pool: TransferPool, **options: Any) -> StorageBackend:
        """Its backend; `options` are for what nobody has set."""
        return open_backend(self.place.backend, {**options, **self.place.options}, pool)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say which storage is meant where no URL does."""
    parser.add_argument(
        "--storage",
        metavar="NAME",
        help="storage of names without a URL, and of their options (env STORAGE)",
    )
    parser.add_argument(
        "-o",
        "--option",
        dest="options",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of it, or of the URL's store, as in storage_options (workdir, "
        "endpoint_url, ...); may be repeated",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="SETTINGS.yml",
        help="an executor's settings file: its storage and storage_options",
    )


def in_a_store(text: str) -> bool:
    """Whether `text` names something in a store, and not a local path."""
    return is_url(text) or text.startswith(OWN)


def stored(text: str, args: argparse.Namespace) -> Stored:
    """What `text` names: a URL, or a name in the storage that `args` choose. Raises UsageError."""
    try:
        if is_url(text):
            folder, name = _split(text)
            meant = place(None, {}, folder, defaults=_defaults(args, folder), environ=os.environ)
        else:
            name = text.removeprefix(OWN)
            meant = place(None, {}, None, defaults=_defaults(args), environ=os.environ)
            if meant.backend == "local" and not meant.options.get("workdir"):
                raise UsageError(
                    f"{text!r} is no URL, and no storage is set for names: write a URL such as "
                    "gs://bucket/folder/, or name the storage by --storage or --settings"
                )
        whole = meant.prefix + name
        return Stored(text, meant, whole and checked_name(whole, "name"))
    except PathError as exc:
        raise UsageError(f"{text}: {exc}") from exc


def _split(url: str) -> tuple[str, str]:
    """The URL of the folder, and the name of the file or tree in it."""
    scheme, _, rest = url.partition("://")
    parent, slash, last = rest.removesuffix("/").rpartition("/")
    if not slash:
        return url, ""
    name = unquote(last) if scheme.lower() in ("http", "https") else last
    # The root of a file system is a folder, though its URL ends like none.
    return f"{scheme}://{parent}/", name + ("/" if is_tree(url) and name else "")


def _defaults(args: argparse.Namespace, url: str | None = None) -> Defaults:
    """The storage that `args` choose; options that stand alone are those of the `url`."""
    from executor.settings import ExecutorSettings
    from messaging.settings import load

    alone = args.storage is None and args.settings is None and args.options
    flags = {"storage": url if alone and url else args.storage}
    settings = load(ExecutorSettings, flags=flags, file=args.settings, environ=os.environ)
    return Defaults(settings.storage, {**settings.storage_options, **_options(args.options)})


def _options(texts: list[str]) -> Mapping[str, Any]:
    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            # What stands there may be a secret all the same.
            raise UsageError("-o needs KEY=VALUE, such as -o workdir=/data")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise UsageError(f"-o {key}: its value is not YAML") from exc
    return options
