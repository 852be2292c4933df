"""A host that is played: its clock, its LAN, its engine and the plugin's processes. The supervisor in it is the real
one."""
