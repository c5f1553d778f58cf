"""Flags that several commands share, and how flags, environment and files become settings."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from messaging.settings import Settings, load

S = TypeVar("S", bound=Settings)

log = logging.getLogger(__name__)


def add_settings_file(parser: argparse.ArgumentParser) -> None:
    """The one positional argument of daemons."""
    parser.add_argument(
        "settings_file",
        nargs="?",
        type=Path,
        metavar="SETTINGS.yml",
        help="settings in YAML (examples/settings.yml explains them); flags and environment "
        "variables go before it",
    )


def add_pubsub(parser: argparse.ArgumentParser) -> None:
    """Where Pub/Sub is."""
    parser.add_argument("--project", help="Google Cloud project (env GOOGLE_CLOUD_PROJECT)")
    parser.add_argument(
        "--emulator-host",
        metavar="HOST:PORT",
        help="address of `portfire broker` or of Google's emulator (env PUBSUB_EMULATOR_HOST)",
    )
    parser.add_argument("--prefix", help="prefix of topic names (env PORTFIRE_PREFIX)")


def add_launchpad(parser: argparse.ArgumentParser) -> None:
    """FireWorks' own flags for its own files."""
    parser.add_argument(
        "-l", "--launchpad_file", type=Path, metavar="FILE", help="path to my_launchpad.yaml"
    )
    parser.add_argument(
        "-w", "--fworker_file", type=Path, metavar="FILE", help="path to my_fworker.yaml"
    )
    parser.add_argument(
        "-c",
        "--config_dir",
        type=Path,
        metavar="DIR",
        help="directory with these files, used where -l or -w is not given",
    )


def settings(
    cls: type[S],
    args: argparse.Namespace,
    *,
    attributes: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> S:
    """Settings of class `cls` from the parsed flags that it knows, the environment and the file.

    `attributes` and `defaults` are as in `messaging.settings.load`. Raises UsageError. They are
    logged, secrets excepted.
    """
    loaded = load(
        cls,
        flags={name: getattr(args, name, None) for name in cls.model_fields},
        file=getattr(args, "settings_file", None),
        environ=os.environ,
        attributes=attributes,
        defaults=defaults,
    )
    log.debug("settings: %s", loaded.redacted())
    return loaded
