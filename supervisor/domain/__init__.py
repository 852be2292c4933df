"""Pure rules: the phases of an endpoint, the states of a lease, the options, the answer to Join.

Must not do any I/O, nor read a clock.
"""
