"""Power cuts and suspends of a whole machine with the plugin: `make test-boot`, minutes for each."""
