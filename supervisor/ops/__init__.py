"""What operators ask, and what they see.

Must not change anything.
"""
