"""A Docker image of one static busybox, made here: nothing is pulled from any registry.

Debian's package busybox-static brings the binary. The image has a shell and the usual small
tools, weighs some 2 MB, and is what the example's containers run in.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

IMAGE = "portfire-wordcount:1"


class NoImageError(Exception):
    """There is no engine, or nothing to make an image of; the text says which, in one line."""


def make_image(name: str = IMAGE) -> str:
    """Make the image `name` (repository:tag) unless the engine has it, and return the name.

    Raises NoImageError where no engine answers, there is no busybox, or it does not run alone.
    """
    try:
        client = docker.from_env(timeout=60)
    except DockerException as exc:
        raise NoImageError("no Docker engine answers") from exc
    try:
        try:
            client.images.get(name)
        except ImageNotFound:
            _make(client, name)
    except (DockerException, OSError) as exc:
        raise NoImageError(f"Docker could not make the image: {_first_line(exc)}") from exc
    finally:
        client.close()
    return name


def _make(client: docker.DockerClient, name: str) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise NoImageError("no busybox to make an image of (Debian: busybox-static)")
    repository, tag = name.split(":")
    client.api.import_image_from_data(file_system(Path(busybox)), repository, tag)
    try:
        client.containers.run(name, ["true"], remove=True)
    except DockerException as exc:
        client.images.remove(name, force=True)
        raise NoImageError(
            f"{busybox} does not run alone in a container: install busybox-static "
            f"({_first_line(exc)})"
        ) from exc


def file_system(busybox: Path) -> bytes:
    """A tar of the image's files: busybox, a link to it for each of its tools, and /tmp."""
    tools = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        tar.add(busybox.resolve(), "bin/busybox")
        for tool in set(tools.stdout.split()) - {"busybox"}:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def _first_line(exc: Exception) -> str:
    lines = str(exc).splitlines()
    return lines[0] if lines else type(exc).__name__
