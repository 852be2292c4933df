"""Tests of workers/dhcp4."""
