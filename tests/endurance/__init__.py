"""What grows in the plugin over ten thousand endpoints, and over a day of renewals: nothing.

`python -m tests.endurance`, in the harness of the process tests, on the built root file system.
"""
