"""What a VM does when it starts: the files beside this module, as metadata attributes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from messaging.errors import UsageError


def startup_attributes(
    startup: str, family: str, attributes: Mapping[str, object]
) -> dict[str, str]:
    """The attributes that make an image of this family run an executor; raises UsageError.

    `attributes` are those that the VM has anyway.

    `auto`: Google's Debian and Ubuntu images install it, its container-optimised OS runs it in a
    container, and all others are taken to hold it already, as an image for Borealis did. `none` is
    for such images too.
    """
    if startup == "auto":
        if family.startswith("cos-"):
            startup = "cos"
        else:
            startup = "script" if family.startswith(("debian-", "ubuntu-")) else "none"
    if startup == "script":
        return {"startup-script": _text("startup.sh")}
    if startup == "cos":
        if not attributes.get("portfire_image") and not attributes.get("user-data"):
            raise UsageError(
                "container-optimised OS runs the executor in a container: name an image that holds "
                "Portfire by -m portfire_image=IMAGE"
            )
        return {"user-data": _text("cos.yaml")}
    if startup == "none":
        return {}
    raise UsageError(f"--startup is {startup!r}: one of auto, script, cos, none")


def _text(name: str) -> str:
    return (files("fleet") / name).read_text(encoding="utf-8")
