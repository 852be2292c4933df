"""The plugin's whole process tree for real, in network namespaces, before an engine that the tests play."""
