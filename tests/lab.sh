#!/bin/sh
# Runs the lab as root with the packages that it needs. Where it cannot, it says in one line what is
# left out and why, and ends well: the other tests have run.
#
#   tests/lab.sh PROGRAM-FOLDER [ARGUMENTS OF lab]
set -eu
here=$(dirname "$0")
programs=$1
shift

if ! reason=$("$here/packages.sh" 2>&1); then
    echo "left out: the lab ($*): $(printf '%s' "$reason" | tail -n 1)"
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "left out: the lab ($*): network namespaces need root, and sudo asks for a password"
    exit 0
fi
if ! $as_root unshare --net true 2>/dev/null; then
    echo "left out: the lab ($*): this machine does not allow network namespaces"
    exit 0
fi
exec $as_root "$programs/lab" "$@"
