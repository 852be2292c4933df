"""Tests of supervisor/endpoint."""
