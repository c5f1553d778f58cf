"""The commands of `portfire`, one file each; they put the other packages together.

Each module has ``add(subparsers)``, which declares its flags and names the function that runs it.
That function takes the parsed arguments and returns the exit code: 0 done, 1 a job failed or an
error was reported; a UsageError becomes 2.
"""
