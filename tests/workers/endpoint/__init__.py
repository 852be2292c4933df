"""Tests of workers/endpoint."""
