"""Tests of supervisor/engine."""
