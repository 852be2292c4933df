"""Tests of workers/contract."""
