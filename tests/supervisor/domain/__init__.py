"""Tests of supervisor/domain."""
