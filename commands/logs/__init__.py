"""Where the daemons' log goes: standard error for people or for collectors, and Cloud Logging."""
