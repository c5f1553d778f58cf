"""An executor on a Google Compute Engine VM: what it is told by metadata, and how the VM ends."""
