"""The page in a real browser, over the real plugin: `make test-page`."""
