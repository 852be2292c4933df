"""The commands, one module each: what it asks, and how the answer looks.

Each has a docstring that is its help, with examples behind it. What several need lies in the package above.
"""
