"""The word count as a workflow: split, then one count for each part, then merge.

The files travel as they would between machines: every task fetches its inputs (programs too) from
one folder through the `nfs` storage backend and stores its outputs there.

    prepare(folder)                           # texts and programs into the folder
    workflow = build(folder, 4, docker_image=None)
    ...                                       # add it to a LaunchPad and run it
    answer(folder)                            # [("the", 340), ("a", 144), ...]
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from fireworks import Firework, Workflow

from examples.wordcount.image import NoImageError, make_image
from executor.command_task import CommandTask
from executor.docker_task import DockerTask

RESULT = "words.tsv"

_HERE = Path(__file__).parent
_INTERNAL_PREFIX = "/wordcount"


def prepare(folder: Path) -> None:
    """Put the example's texts and programs into `folder`, and remove an earlier run's outputs."""
    for made in ("parts", "counts"):
        shutil.rmtree(folder / made, ignore_errors=True)
    (folder / RESULT).unlink(missing_ok=True)
    for given in ("texts", "programs"):
        shutil.copytree(_HERE / given, folder / given, dirs_exist_ok=True)


def choose_image() -> tuple[str | None, str]:
    """The image for the containers, or None to run without; and why, in one line for people."""
    try:
        image = make_image()
    except NoImageError as exc:
        return None, f"tasks are CommandTasks on this machine: {exc}"
    return image, f"tasks are DockerTasks in containers of {image}"


def build(folder: Path, parts: int, docker_image: str | None) -> Workflow:
    """The workflow over the texts in `folder` (see `prepare`), in `parts` parts.

    Its tasks are DockerTasks in `docker_image`, or CommandTasks if that is None.
    """
    texts = [f"parts/part-{part}.txt" for part in range(1, parts + 1)]
    counts = [f"counts/part-{part}.tsv" for part in range(1, parts + 1)]
    make = _Make(folder, docker_image)
    split = make("split", f"{parts} parts texts/*.txt", ["texts/"], texts)
    counted = [
        make(f"count {part}", text, [text], [f">{count}"], program="count", parents=[split])
        for part, (text, count) in enumerate(zip(texts, counts, strict=True), start=1)
    ]
    merge = make("merge", " ".join(counts), counts, [f">{RESULT}"], parents=counted)
    return Workflow([split, *counted, merge], name="wordcount")


def answer(folder: Path) -> list[tuple[str, int]]:
    """The words and how often each occurs, the most frequent first, from the workflow's result."""
    lines = (folder / RESULT).read_text().splitlines()
    pairs = (line.split("\t") for line in lines)
    return [(word, int(count)) for count, word in pairs]


class _Make:
    """Makes the Fireworks: one program of the example each."""

    def __init__(self, folder: Path, docker_image: str | None) -> None:
        self.folder = folder.resolve()
        self.docker_image = docker_image

    def __call__(
        self,
        name: str,
        arguments: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        program: str = "",
        parents: Sequence[Firework] = (),
    ) -> Firework:
        script = f"programs/{program or name}.sh"
        line = f"sh {script} {arguments}"
        files = {
            "inputs": [script, *inputs],
            "outputs": list(outputs),
            "storage": "nfs",
            "workdir": str(self.folder),
            "timeout": 600.0,
        }
        return Firework([self._task(name, line, files)], name=name, parents=list(parents))

    def _task(self, name: str, line: str, files: dict[str, object]) -> CommandTask | DockerTask:
        if self.docker_image is None:
            return CommandTask(name=name, command=line, **files)
        return DockerTask(
            name=name,
            image=self.docker_image,
            command=["sh", "-c", f"cd {_INTERNAL_PREFIX} && {line}"],
            internal_prefix=_INTERNAL_PREFIX,
            storage_prefix="",
            **files,
        )
