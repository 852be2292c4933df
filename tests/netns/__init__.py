"""The workers against a real kernel, real servers and real clients, in network namespaces of their own."""
