"""Images of containers: named, pulled once for all slots, and what went wrong."""
