"""The containers on networks of ours, and the lines that pin them.

Reads what the engine shows of containers and what the plugin says; sends no request and changes nothing.
"""
