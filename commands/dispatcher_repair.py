"""`portfire dispatcher repair`: finds and mends what processes that died left in a LaunchPad."""

from __future__ import annotations

import argparse

from commands import launchpads


def repair(args: argparse.Namespace) -> int:
    """Print a line for each finding; 0 when all is well by then, 1 when something is not mended."""
    source = launchpads.open_source(args, allow_embedded=False)
    from dispatcher.launchpad import database_errors
    from dispatcher.repair import Repair

    left = found = 0
    with database_errors("repair the LaunchPad"):
        work = Repair(source.launchpad, after=args.after, force=args.force, dry_run=args.dry_run)
        for finding in work.run():
            found += 1
            left += not finding.done
            print(f"{finding.what}: {finding.done or 'left as it is'}", flush=True)
    if not found:
        print("nothing is locked by a dead process, unpublished or out of date")
    return 1 if left else 0
