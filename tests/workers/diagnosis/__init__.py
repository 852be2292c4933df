"""What a host and the wire tell of a lease that did not come."""
