"""Files that a container wrote as somebody else, such as root: made ours, or removed.

What this user may not do, a container of the job's own image can: it runs as root, with nothing
but the directory and the rights to change files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

from executor.containers.finding import job_labels
from executor.context import current_context
from executor.failures import one_line
from messaging.errors import PortfireError

logger = logging.getLogger(__name__)

#: Where the directory is in the helper container.
_INSIDE = "/portfire-files"
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
#: Seconds for a helper container.
_TIMEOUT = 60.0


def take_over(directory: Path, image: str) -> None:
    """Make all that is below a private directory ours, if it is not; links are not followed.

    `image` is the id of an image that the engine has. Does nothing for root, who needs it not.
    Never raises, except JobInterrupted; what cannot be done is logged.
    """
    if os.geteuid() == 0 or not _has_others(directory):
        return
    owner = f"{os.getuid()}:{os.getgid()}"
    said = _as_root(directory, image, "chown", "-Rh", owner, _INSIDE)
    if _has_others(directory):
        logger.warning(
            "files in %s are not this user's, and could not be made so: %s", directory, said
        )


def empty_as_root(directory: Path, image: str) -> str:
    """Remove all that is in `directory`; one line on what went wrong, if anything did."""
    return _as_root(directory, image, "rm", "-rf", _INSIDE)


def _has_others(directory: Path) -> bool:
    """Whether anything in it is not this user's. Does not follow links."""
    user = os.geteuid()
    for place, directories, files in os.walk(directory):
        for path in (Path(place, name) for name in (".", *directories, *files)):
            # A directory that is ours and closed is not one for somebody else to open.
            with contextlib.suppress(OSError):
                if path.lstat().st_uid != user:
                    return True
    return False


def _as_root(directory: Path, image: str, program: str, *arguments: str) -> str:
    # Imported late: a job without containers needs no Docker SDK.
    from executor.containers.engine import connected
    from executor.containers.run import run_container
    from executor.containers.spec import BindMount, ContainerSpec

    spec = ContainerSpec(
        image=image,
        entrypoint=[program],
        command=arguments,
        mounts=(BindMount(source=directory.absolute(), target=_INSIDE),),
        labels=job_labels(current_context()),
        user="0:0",
        network="none",
        read_only=True,
        capabilities=_CAPABILITIES,
        timeout=_TIMEOUT,
        stop_grace=0.0,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="portfire-") as place, connected() as client:
            printed = Path(place) / "printed"
            code = run_container(client, spec, printed).exit_code
            said = printed.read_text(errors="replace").splitlines() if code else []
    except (PortfireError, OSError) as exc:
        return one_line(exc)
    if not code:
        return ""
    return said[0] if said else f"{program} of the job's image ended with {code}"
