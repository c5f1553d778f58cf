"""A child process for GridFTP: becomes a program, or makes small requests to a server itself.

    python globus_child.py run PROGRAM ARGUMENTS...
    python globus_child.py control

In both ways it dies with the thread that started it. As ``control`` it reads requests from standard
input, a JSON array ``[OPERATION, URL, MORE...]`` a line, and answers each with a JSON object:
``error`` is what Globus said, or null; ``value`` is what was asked for. It ends with its input.

The control requests (delete, rename, ...) are calls of the library that globus-url-copy itself is
made of, since that program can only copy and list. They are made here and not in the caller's
process, so that they can be killed and share no C state with other threads.

Standard library only: it is run by path, without the project's packages.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

_PR_SET_PDEATHSIG = 1
#: Globus' space of callbacks that all modules use.
_GLOBAL_SPACE = -2
_CHECKSUM_BYTES = 1024
_MLST_BYTES = 1 << 16

_BLOCK = 1 << 18

_Done = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_Arrived = ctypes.CFUNCTYPE(
    None,
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
    *(ctypes.c_size_t, ctypes.c_int64, ctypes.c_int),
)


class Control:
    """Requests to GridFTP servers, one after another over connections that stay open."""

    def __init__(self) -> None:
        self._common = ctypes.CDLL("libglobus_common.so.0")
        self._client = ctypes.CDLL("libglobus_ftp_client.so.2")
        self._common.globus_error_print_friendly.restype = ctypes.c_void_p
        self._common.globus_error_print_friendly.argtypes = [ctypes.c_void_p]
        self._common.globus_error_get.restype = ctypes.c_void_p
        self._common.globus_error_get.argtypes = [ctypes.c_uint32]
        self._common.globus_callback_space_poll.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self._for_ever = _address(self._common, "globus_i_abstime_infinity")
        self._common.globus_module_activate.argtypes = [ctypes.c_void_p]
        module = _address(self._client, "globus_i_ftp_client_module")
        if self._common.globus_module_activate(module):
            raise OSError("Globus' FTP client could not be started")
        self._handle = ctypes.c_void_p()
        self._attributes = ctypes.c_void_p()
        options = ctypes.c_void_p()
        self._setup("handleattr_init", options)
        self._client.globus_ftp_client_handleattr_set_cache_all(ctypes.byref(options), 1)
        self._client.globus_ftp_client_handle_init(
            ctypes.byref(self._handle), ctypes.byref(options)
        )
        self._setup("operationattr_init", self._attributes)

    def delete(self, url: str) -> None:
        """Delete a file."""
        self._call("delete", url)

    def rmdir(self, url: str) -> None:
        """Delete an empty directory."""
        self._call("rmdir", url)

    def mkdir(self, url: str) -> None:
        """Make one directory, whose parent exists."""
        self._call("mkdir", url)

    def move(self, url: str, target: str) -> None:
        """Rename a file; replaces one that has the name already."""
        self._call("move", url, before=(target.encode(),))

    def stat(self, url: str) -> str:
        """The facts of MLST: ``Type=file;Size=3;...; NAME``."""
        found, length = ctypes.c_void_p(), ctypes.c_size_t()
        self._call("mlst", url, after=(ctypes.byref(found), ctypes.byref(length)))
        if not found.value:
            return ""
        facts = ctypes.string_at(found.value, min(length.value, _MLST_BYTES))
        return facts.decode(errors="replace").rstrip("\0")

    def list(self, url: str) -> str:
        """The facts of MLSD for all that a directory holds, a line each."""
        came: list[bytes] = []
        buffer = ctypes.create_string_buffer(_BLOCK)

        def read() -> None:
            register = self._client.globus_ftp_client_register_read
            register(ctypes.byref(self._handle), buffer, ctypes.c_size_t(_BLOCK), block, None)

        def arrived(*told: int) -> None:
            _, _, error, _, length, _, end = told
            came.append(buffer.raw[:length])
            if not end and not error:
                read()

        block = _Arrived(arrived)
        self._call("machine_list", url, begun=read)
        return b"".join(came).decode(errors="surrogateescape")

    def checksum(self, url: str, algorithm: str) -> str:
        """The checksum of a whole file, in hex, as the server computes it."""
        answer = ctypes.create_string_buffer(_CHECKSUM_BYTES)
        whole = (ctypes.c_int64(0), ctypes.c_int64(-1))
        self._call("cksm", url, after=(answer, *whole, algorithm.encode()))
        return answer.value.decode(errors="replace")

    def _setup(self, function: str, what: ctypes.c_void_p) -> None:
        getattr(self._client, f"globus_ftp_client_{function}")(ctypes.byref(what))

    def _call(
        self,
        name: str,
        url: str,
        *,
        before: tuple[Any, ...] = (),
        after: tuple[Any, ...] = (),
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        """Call Globus' function and wait for its callback; raises OSError with Globus' text."""
        outcome: list[str] = []

        def done(_argument: int, _handle: int, error: int) -> None:
            outcome.append(self._text(error) if error else "")

        callback = _Done(done)  # alive until the callback has come
        function = getattr(self._client, f"globus_ftp_client_{name}")
        function.restype = ctypes.c_uint32
        handle, attributes = ctypes.byref(self._handle), ctypes.byref(self._attributes)
        result = function(handle, url.encode(), *before, attributes, *after, callback, None)
        if result:
            raise OSError(self._text(self._common.globus_error_get(result)))
        begun()
        while not outcome:
            self._common.globus_callback_space_poll(self._for_ever, _GLOBAL_SPACE)
        if outcome[0]:
            raise OSError(outcome[0])

    def _text(self, error: int) -> str:
        text = ctypes.string_at(self._common.globus_error_print_friendly(error))
        return text.decode(errors="replace") or "an error without a text"


def _address(library: ctypes.CDLL, symbol: str) -> int:
    return ctypes.addressof(ctypes.c_char.in_dll(library, symbol))


def serve() -> None:
    """Answer the requests on standard input."""
    control: Control | None = None
    for line in sys.stdin:
        operation, *arguments = json.loads(line)
        answer: dict[str, str | None] = {"error": None, "value": None}
        try:
            control = control or Control()
            method: Callable[..., str | None] = getattr(control, operation)
            answer["value"] = method(*arguments)
        except OSError as exc:
            answer["error"] = str(exc)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    # Globus' own end waits for servers that may be away; there is nothing to lose here.
    os._exit(0)


def main(arguments: Sequence[str]) -> None:
    """The child process itself."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if arguments[0] == "run":
        os.execvp(arguments[1], list(arguments[1:]))
    serve()


if __name__ == "__main__":
    main(sys.argv[1:])
