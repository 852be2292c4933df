"""Tests of workers/entry."""
