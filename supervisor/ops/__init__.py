"""What operators ask, see and change.

Must not change anything that no operator has asked for.
"""
