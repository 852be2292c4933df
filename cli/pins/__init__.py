"""Which containers cannot be told apart at a boot, and the lines that pin them.

Reads what the engine shows of containers; asks nobody and changes nothing.
"""
