#!/bin/sh
# udhcpc runs this at each event (name in $1, values in the environment). It writes one record to the standard output
# that it inherits: the event's name and NAME=VALUE fields, each ended by NUL; an empty field ends the record.
# The script interprets no value: it passes the server's bytes on.
# As a rule one printf is one write, and wakes the worker once.
printf '%s\0' "$1" "ip=$ip" "mask=$mask" "subnet=$subnet" "router=$router" "dns=$dns" "domain=$domain" \
    "search=$search" "ntpsrv=$ntpsrv" "lease=$lease" "serverid=$serverid" "mtu=$mtu" "routes=$routes" \
    "staticroutes=$staticroutes" "msstaticroutes=$msstaticroutes" "message=$message" ""
