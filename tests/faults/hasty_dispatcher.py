"""A dispatcher that beats often and takes a colleague for dead soon: tests need not wait so long.

python hasty_dispatcher.py dispatcher -l my_launchpad.yaml ...
"""

from __future__ import annotations

import sys

import portfire
from dispatcher import beats, housekeeping, roster

#: Seconds without a beat after which a dispatcher is dead here.
STALE_SECONDS = 4.0

if __name__ == "__main__":
    roster.STALE_SECONDS = STALE_SECONDS
    roster._DOUBT_SECONDS = 2.0
    housekeeping._LOOK_SECONDS = 0.5
    housekeeping._ADOPT_SECONDS = 1.0
    vars(beats)["BEAT_SECONDS"] = 0.5
    sys.exit(portfire.main(["-v", *sys.argv[1:]]))
