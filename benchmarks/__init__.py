"""Measurements, side by side with FireWorks' own launchers on the same MongoDB in the same run."""
