"""A long run of random churn and random faults, and the verdict: each gap in a container's network has its reason.

`python -m tests.soak --minutes 20`. What is judged is the server's log, ARP answers on the LAN, and the engine.
"""
