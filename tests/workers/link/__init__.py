"""Tests of workers/link."""
