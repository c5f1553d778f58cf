"""From what a job and its executor say of storage to a backend, its options and a prefix."""
