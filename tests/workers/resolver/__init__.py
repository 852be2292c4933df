"""Tests of workers/resolver."""
