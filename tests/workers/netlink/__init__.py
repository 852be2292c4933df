"""Tests of workers/netlink."""
