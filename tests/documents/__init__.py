"""The documents, held to what the code says. Unit tests: nothing is run but parsers."""
