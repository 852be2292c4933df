"""The built plugin in a real Docker Engine."""
