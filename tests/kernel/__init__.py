"""What the kernel of this machine may lack: run in a guest with one that has all kinds of links."""
