"""The dispatcher: claims Fireworks, publishes them as jobs, applies what executors report.

The only part of Portfire that opens the LaunchPad. `dispatcher.daemon.Dispatcher` is the service;
`dispatcher.stored_workflow` is the one place that writes FireWorks' collections.
"""
