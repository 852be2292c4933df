"""The processes: owns every child and all state; knows no HTTP and no netlink."""
