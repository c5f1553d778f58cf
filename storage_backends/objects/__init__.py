"""A backend on any store of objects: trees, ranges, whole files, checksums."""
