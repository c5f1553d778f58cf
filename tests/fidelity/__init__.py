"""FireWorks' documented behaviours through Portfire, compared with `rlaunch rapidfire`.

Each scenario is loaded into two LaunchPads on real MongoDB; one is run by FireWorks' own
`rlaunch rapidfire`, the other by `portfire run`. The resulting documents must be equal, apart from
what cannot be: ids, times, directories, hosts, and the reservation that Portfire makes first.
"""
