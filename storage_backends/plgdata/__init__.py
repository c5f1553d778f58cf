"""PL-Grid Data."""
