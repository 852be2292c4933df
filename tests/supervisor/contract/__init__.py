"""Tests of supervisor/contract."""
