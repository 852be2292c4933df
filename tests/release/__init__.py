"""What is made of a build: archives and lists. Unit tests."""
