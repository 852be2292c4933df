"""The plugin's knowledge of the Docker Engine: the watcher's facts, the engine's files, the container of a request.

Must not wait for the engine, nor change anything.
"""
