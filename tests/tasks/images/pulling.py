"""A slot's part of a pull, as a process of its own.

    python -m tests.tasks.images.pulling IMAGE POLICY DIRECTORY

Prints the outcome as JSON: ``id`` or ``error``, and the number of ``pulls`` begun.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from executor.containers.engine import connected
from executor.images.ensuring import checked_pull_policy, ensure_image
from messaging.errors import PortfireError
from tests.tasks.conftest import RecordingContext


def main(image: str, policy: str, directory: str) -> None:
    context = RecordingContext()
    outcome: dict[str, object] = {}
    with connected() as client:
        try:
            outcome["id"] = ensure_image(
                client,
                image,
                policy=checked_pull_policy(policy),
                context=context,
                shared_directory=Path(directory),
            )
        except PortfireError as exc:
            outcome["error"] = str(exc)
    outcome["pulls"] = context.types.count("image-pull.started")
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    main(*sys.argv[1:])
