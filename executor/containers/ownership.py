"""Files that a container wrote as somebody else, such as root, or closed: made ours, or removed.

What this user may not do, a container of the job's own image can: it runs as root, with nothing
but the directory and the rights to change files.
"""

from __future__ import annotations

import logging
import os
import stat
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
    """Make all that is below a private directory ours, and readable; links are not followed.

    `image` is the id of an image that the engine has. Does nothing for root, who needs it not.
    Never raises, except JobInterrupted; what cannot be done is logged.
    """
    if os.geteuid() == 0 or _open_ours(directory):
        return
    owner = f"{os.getuid()}:{os.getgid()}"
    said = _as_root(directory, image, "chown", "-Rh", owner, _INSIDE)
    if not _open_ours(directory):
        logger.warning(
            "files in %s are not this user's, and could not be made so: %s", directory, said
        )


def empty_as_root(directory: Path, image: str) -> str:
    """Remove all that is in `directory`; one line on what went wrong, if anything did."""
    return _as_root(directory, image, "rm", "-rf", _INSIDE)


def _open_ours(directory: Path) -> bool:
    """Let this user read all of it that is its own; whether nothing is somebody else's."""
    all_ours = _open_one(directory)
    # A directory is opened before it is looked into.
    for place, directories, files in os.walk(directory):
        for name in (*directories, *files):
            all_ours &= _open_one(Path(place, name))
    return all_ours


def _open_one(path: Path) -> bool:
    """Let this user read a file or directory, if it may say so; whether it is its own."""
    facts = path.lstat()
    if facts.st_uid != os.geteuid():
        return False
    for is_kind, needed, given in (
        (stat.S_ISDIR, stat.S_IRUSR | stat.S_IXUSR, stat.S_IRWXU),
        (stat.S_ISREG, stat.S_IRUSR, stat.S_IRUSR | stat.S_IWUSR),
    ):
        if is_kind(facts.st_mode) and facts.st_mode & needed != needed:
            # Only then: what can be read is stored with the rights that the command gave it.
            path.chmod(stat.S_IMODE(facts.st_mode) | given)
    return True


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
