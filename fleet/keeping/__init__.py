"""`portfire gce keep`: a fleet that is as large as a LaunchPad's work deserves.

`sight` is what is seen, `decision` what follows from it (a pure function), `keeper` the loop that
looks, decides and acts.
"""
