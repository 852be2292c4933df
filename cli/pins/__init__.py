"""Which containers cannot be told apart at a boot, and the lines that pin them.

Reads what the engine shows of containers; sends no request and changes nothing.
"""
