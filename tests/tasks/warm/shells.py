"""Images with other shells than busybox', and one with none: made here, as the test image is."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.services import missing

_TOOLS = ("cat", "echo", "env", "ls", "printf", "sleep")


def shell_image(client: docker.APIClient, shell: str) -> str:
    """The id of an image whose ``sh`` is this machine's `shell`; ``""``: it has none."""
    # The stubs have no types for these calls.
    name = f"portfire-test-{shell or 'no-shell'}:1"
    try:
        client.inspect_image(name)  # type: ignore[no-untyped-call]
    except ImageNotFound:
        repository, tag = name.split(":")
        client.import_image_from_data(_file_system(shell), repository, tag)
    details = client.inspect_image(name)  # type: ignore[no-untyped-call]
    return str(details["Id"])


def _file_system(shell: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        tar.add(_program("busybox"), "bin/busybox")
        for tool in _TOOLS:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        if shell:
            program = _program(shell)
            tar.add(program, "bin/sh")
            linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
            for library in re.findall(r"(/\S+) \(", linked.stdout):
                tar.add(library, library.lstrip("/"))
    return buffer.getvalue()


def _program(name: str) -> Path:
    path = shutil.which(name)
    if path is None:
        missing(f"no {name} here to make an image of: install it")
    return Path(path)
