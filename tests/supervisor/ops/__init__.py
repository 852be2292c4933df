"""Tests of supervisor/ops."""
