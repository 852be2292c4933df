"""Tests of docker-net-dhcp: each package has its mirror here; netns/ and plugin/ run real servers and engines."""
