"""The API: protocol, HTTP and server, each against a supervisor of the tests' own."""
