"""Outputs that are what the program printed: ``>file`` and ``>>log``, as Borealis writes them."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from storage_backends.paths import PathError, checked_name, checked_names, is_tree

#: ``""``: a file or tree that the program writes; ``>``: its stdout and stderr; ``>>``: the same
#: as a log with header and footer, stored also when the program fails.
Capture = Literal["", ">", ">>"]
_RULE = "-" * 80


@dataclass(frozen=True)
class Output:
    """One output of a job."""

    #: Relative to the job's directory and to its place in the storage.
    name: str
    capture: Capture = ""
    #: Whether it is stored after a success; then it must be there.
    on_success: bool = True
    #: Whether it is stored after a failed execution, if it is there.
    on_failure: bool = False


def split_capture(text: object) -> tuple[Capture, str]:
    """``>>log.txt`` as ``(">>", "log.txt")``. Raises PathError for what is no text."""
    if not isinstance(text, str):
        raise PathError(f"output {text!r} is a {type(text).__name__}: expected a path")
    if text.startswith(">>"):
        return ">>", text[2:].strip()
    if text.startswith(">"):
        return ">", text[1:].strip()
    return "", text


def parse_outputs(texts: Iterable[object], on_failure: Iterable[object] = ()) -> tuple[Output, ...]:
    """Outputs as a task writes them, checked, none twice. Raises PathError.

    Those named `on_failure`, among `texts` or beside them, are wanted after a failure too, or then
    only. The name of a ``>>`` log gets the time in front, so that each attempt's log is kept.
    """
    outputs = {output.name: output for output in _parsed(texts)}
    for wanted in _parsed(on_failure):
        known = outputs.get(wanted.name)
        if known and wanted.capture in ("", known.capture):
            outputs[wanted.name] = replace(known, on_failure=True)
        elif known:
            raise PathError(f"output {wanted.name!r} is named twice, once with {wanted.capture!r}")
        else:
            outputs[wanted.name] = replace(wanted, on_success=False, on_failure=True)
    checked_names(outputs, "output")
    return tuple(
        replace(output, name=_stamped(output.name)) if output.capture == ">>" else output
        for output in outputs.values()
    )


def write_log(log: Path, printed: Path, header: str, footer: str) -> None:
    """Write `log`: the header, all of the file `printed`, the footer. In blocks.

    It is a new file, also where there is one of its name, which may be in use by another name.
    """
    log.unlink(missing_ok=True)
    with log.open("wb") as target:
        target.write(f"{header}\n\n{_RULE}\n".encode())
        if printed.exists():
            with printed.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
        target.write(f"{_RULE}\n\n{footer}\n".encode())


def log_header(title: str, facts: Iterable[str]) -> str:
    """The head of a ``>>`` log: when, what, where."""
    return "\n\n".join([f"{_stamp()} {title}, host: {socket.gethostname()}", *facts])


def log_footer(title: str, seconds: float, timeout: float, error: str | None) -> str:
    """The foot of a ``>>`` log: how it ended."""
    outcome = "FAILED" if error else "SUCCESSFUL"
    text = f"{_stamp()} {outcome} {title}, elapsed {seconds:.1f} s of timeout {timeout:g} s"
    return f"{text}: {error}" if error else text


def _parsed(texts: Iterable[object]) -> list[Output]:
    outputs = []
    for text in texts:
        capture, name = split_capture(text)
        checked_name(name, "output")
        if capture and is_tree(name):
            raise PathError(f"output {text!r} captures what is printed: expected a file, no tree")
        outputs.append(Output(name, capture, on_failure=capture == ">>"))
    checked_names((output.name for output in outputs), "output")
    return outputs


def _stamped(name: str) -> str:
    directory, slash, file = name.rpartition("/")
    return f"{directory}{slash}{_stamp()}_{file}"


def _stamp() -> str:
    return time.strftime("%Y%m%d.%H%M%S", time.gmtime())
