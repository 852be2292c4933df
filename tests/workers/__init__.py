"""The workers' pure parts."""
