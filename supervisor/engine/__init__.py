"""What the plugin knows of the Docker Engine: the watcher's facts, the engine's files, whose request it is.

Must not wait for the engine, nor change anything.
"""
