"""One installation that gets jobs of every kind, good and bad, one after the other."""

from __future__ import annotations

import json
import uuid
from typing import Any

from fireworks import LaunchPad

from events.types import Event
from messaging.pubsub import Outgoing, PubSub
from messaging.wire import Reply, decode_reply
from tests.acceptance import tasks
from tests.commands.programs import Ended, portfire
from tests.faults.ledger import launches_of, wait_for_state
from tests.faults.site import Daemon, Site
from tests.waiting import wait_until


class Installation:
    """The site of all cases."""

    def __init__(self, site: Site, launchpad: LaunchPad) -> None:
        self.site = site
        self.launchpad = launchpad
        self.storage = site.directory / "storage"
        self.storage.mkdir()
        self.dispatcher = site.start_dispatcher()
        site.watch()
        self.executor: Daemon = site.start_executor(
            threads=2,
            storage="nfs",
            storage_options={"workdir": str(self.storage)},
            on_outage="fizzle",
        )

    def run_next(self) -> None:
        """The next job of each kind runs, and the same daemons are alive."""
        name = f"next {uuid.uuid4().hex}"
        self.launchpad.add_wf(tasks.script(name))
        wait_for_state(self.launchpad, name, "COMPLETED")
        assert self.dispatcher.is_alive
        assert self.executor.is_alive

    def fizzled(self, name: str) -> tuple[str, dict[str, Any]]:
        """Wait for a Firework to be FIZZLED; its launch's reason and stored data."""
        wait_for_state(self.launchpad, name, "FIZZLED")
        [launch] = launches_of(self.launchpad, name)
        assert launch["state"] == "FIZZLED"
        stored = launch["action"]["stored_data"]
        assert stored["_exception"]["_stacktrace"]
        details = stored["_exception"]["_details"] or {}
        return str(details.get("reason") or stored["_message"]), stored

    def finished(self, **fields: str) -> Event:
        """The one job.finished event with these fields."""

        def found() -> list[Event]:
            return [
                event
                for event in self.site.seen("job.finished")
                if all(getattr(event, name) == value for name, value in fields.items())
            ]

        [event] = wait_until(found, what=f"job.finished of {fields}")
        return event

    def portfire(self, *arguments: str) -> Ended:
        """Run a command in this installation."""
        return portfire(
            self.site.directory,
            *arguments,
            PUBSUB_EMULATOR_HOST=self.site.address,
            PORTFIRE_PREFIX=self.site.names.prefix,
        )

    def submit(self, job: object) -> tuple[int, Reply]:
        """`portfire submit --wait`; its exit code and the reply."""
        file = self.site.directory / f"{uuid.uuid4().hex}.json"
        file.write_text(json.dumps(job))
        ended = self.portfire("submit", "--wait", "--timeout", "30", str(file))
        [line] = ended.output.splitlines()
        return ended.code, decode_reply(line.encode())

    def publish(self, data: bytes) -> Reply:
        """Publish something to the jobs topic, as somebody else's program might; the reply."""
        job, box = uuid.uuid4().hex, self.site.names.reply(uuid.uuid4().hex)
        with PubSub("portfire-local", self.site.address) as pubsub:
            pubsub.create_topic(box)
            pubsub.create_subscription(box, box)
            attributes = {"job": job, "reply_to": box}
            pubsub.publish(self.site.names.jobs, [Outgoing(data, attributes)])
            [received] = wait_until(lambda: pubsub.pull(box, 1, 5.0), what="the reply")
        reply = decode_reply(received.data)
        assert reply.job == job
        return reply


def check_line(reason: str, says: tuple[str, ...]) -> None:
    """The reason is one line that says all of that."""
    assert len(reason.splitlines()) == 1
    assert [text for text in says if text not in reason] == [], reason
    assert "Traceback" not in reason


def told(event: Event) -> tuple[Any, Any, Any]:
    """State, phase and reason in a job.finished event."""
    state, phase, reason = (getattr(event, name) for name in ("state", "phase", "reason"))
    return state, phase, reason


def shell(line: str, **more: Any) -> dict[str, Any]:
    """A raw job that runs a line in the shell."""
    return {"executable": "sh", "args": ["-c", line], **more}
