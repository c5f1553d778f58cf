"""Which LaunchPad and FWorker a command uses: as FireWorks finds them, else the embedded one."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.embedded_launchpad import (
    DEFAULT_FILE,
    VARIABLE,
    EmbeddedLaunchPad,
    file_from_environment,
)
from messaging.errors import UsageError
from messaging.settings import read_yaml


@dataclass(frozen=True, kw_only=True)
class Source:
    """A LaunchPad and FWorker, opened. To be closed."""

    launchpad: Any
    fworker: Any
    #: The lpad command that looks at the same LaunchPad.
    lpad: str = "lpad"
    embedded: EmbeddedLaunchPad | None = None

    def close(self) -> None:
        """Save what is embedded. Idempotent."""
        if self.embedded is not None:
            self.embedded.close()


def open_source(args: argparse.Namespace, *, allow_embedded: bool) -> Source:
    """Open what -l, -w and -c say, else what FireWorks' configuration says.

    Without any of these the embedded LaunchPad is used where `allow_embedded`. Raises UsageError
    for wrong files, PortfireError when the database does not answer.
    """
    launchpad_file = _named(args.launchpad_file, args.config_dir, "my_launchpad.yaml")
    fworker_file = _named(args.fworker_file, args.config_dir, "my_fworker.yaml")
    from_environment = file_from_environment()
    if from_environment is not None:
        if launchpad_file is not None:
            raise UsageError(
                f"{VARIABLE} is set, so FireWorks would use that file and not {launchpad_file}: "
                f"unset {VARIABLE}"
            )
        if not allow_embedded:
            raise UsageError(
                f"{VARIABLE} is set, but an embedded LaunchPad is for one process: use "
                "`portfire run`, or unset it and name a MongoDB with -l"
            )
        return open_files(None, fworker_file, from_environment)
    configured = launchpad_file or _configured_launchpad()
    embedded = DEFAULT_FILE if configured is None and allow_embedded else None
    if embedded is not None:
        print(f"no my_launchpad.yaml: using the embedded LaunchPad {embedded}", file=sys.stderr)
    return open_files(launchpad_file, fworker_file, embedded)


def open_files(
    launchpad_file: Path | None, fworker_file: Path | None, embedded_file: Path | None
) -> Source:
    """Open these files, or the embedded database, before FireWorks was imported."""
    embedded = EmbeddedLaunchPad(embedded_file) if embedded_file is not None else None
    from dispatcher import launchpad as launchpads

    # FireWorks prints on standard output which configuration files it found.
    with contextlib.redirect_stdout(sys.stderr):
        launchpad = launchpads.open_launchpad(
            launchpads.find_launchpad_file(launchpad_file) if embedded is None else None
        )
        fworker = launchpads.load_fworker(fworker_file)
    lpad = f"lpad -l {launchpad_file}" if launchpad_file else "lpad"
    if embedded is not None:
        embedded.keep(launchpad)
        lpad = f"{VARIABLE}={embedded.file} lpad"
    return Source(launchpad=launchpad, fworker=fworker, embedded=embedded, lpad=lpad)


def _named(given: Path | None, config_dir: Path | None, name: str) -> Path | None:
    if given is not None:
        if not given.is_file():
            raise UsageError(f"there is no file {given}")
        return given
    if config_dir is not None:
        if not config_dir.is_dir():
            raise UsageError(f"there is no directory {config_dir}")
        return config_dir / name if (config_dir / name).is_file() else None
    return None


def _configured_launchpad() -> str | None:
    """What FireWorks would use, found without importing it: importing decides on the database.

    The places are those of ``fireworks.fw_config``: the working directory, ``~/.fireworks``,
    FireWorks' own directory; and a FW_config.yaml there or named by FW_CONFIG_FILE.
    """
    spec = importlib.util.find_spec("fireworks")
    package = Path(spec.origin).parent.parent if spec and spec.origin else Path()
    places = [Path.cwd(), Path.home() / ".fireworks", package]
    configs = [place / "FW_config.yaml" for place in places]
    if os.environ.get("FW_CONFIG_FILE"):
        configs.append(Path(os.environ["FW_CONFIG_FILE"]))
    for config in [path for path in configs if path.is_file()][:1]:
        values = read_yaml(config)
        if values.get("LAUNCHPAD_LOC") or values.get(VARIABLE):
            return str(config)
        if values.get("CONFIG_FILE_DIR"):
            places.append(Path(values["CONFIG_FILE_DIR"]))
    files = [place / "my_launchpad.yaml" for place in places]
    return next((str(file) for file in files if file.is_file()), None)
