"""The command as one executable file, a zip archive that Python runs, and how that is made.

`python3 -m cli.onefile LIBRARIES FILE` makes it; `start` is what Python runs in it.
"""
