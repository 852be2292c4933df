"""Tests of supervisor/driver."""
