#!/bin/sh
# Runs a command in a network of its own, where only loopback exists: peers such as DCMTK and Orthanc listen on every address.
# Where the machine does not allow that (no root, some containers) the command runs as it is.
if unshare -n true 2>/dev/null; then
    exec unshare -n sh -c 'ip link set lo up && exec "$0" "$@"' "$@"
fi
exec "$@"
