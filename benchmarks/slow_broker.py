"""`portfire broker` that takes its time with events: python -m benchmarks.slow_broker PORT SECONDS.

A request that publishes events is answered after so many seconds; all else at once.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from messaging.broker.server import Broker
from portfire import main as portfire


def main() -> None:
    """Serve until SIGTERM."""
    port, delay = sys.argv[1], float(sys.argv[2])
    plain = Broker._plain

    def slowed(self: Broker, method: str, function: Any) -> Any:
        call = plain(self, method, function)
        if method != "Publish":
            return call

        async def publish(request: Any, context: Any) -> Any:
            if delay and request[0].topic.endswith("-events"):
                await asyncio.sleep(delay)
            return await call(request, context)

        return publish

    Broker._plain = slowed  # type: ignore[method-assign]
    sys.argv = ["portfire", "broker", "--port", port]
    sys.exit(portfire())


if __name__ == "__main__":
    main()
