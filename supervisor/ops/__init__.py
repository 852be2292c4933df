"""The questions of operators, and the answers.

Must not change anything.
"""
