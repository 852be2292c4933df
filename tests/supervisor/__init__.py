"""The supervisor: its tables, its contract, its children."""
