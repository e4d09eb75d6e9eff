#!/bin/sh
# Runs the lab as root, with the packages that it needs. Where it cannot, it says in one line what is
# left out and why, and ends well: the other tests have run.
#
#   tests/lab.sh PROGRAM-FOLDER 'ARGUMENTS OF lab' ['ARGUMENTS OF lab' ...]
set -eu
here=$(dirname "$0")
programs=$1
shift

leave_out() {
    echo "left out: the lab ($(printf '%s, ' "$@" | sed 's/, $//')): $reason"
    exit 0
}

if ! reason=$("$here/packages.sh" 2>&1); then
    reason=$(printf '%s' "$reason" | tail -n 1)
    leave_out "$@"
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    reason="network namespaces need root, and sudo asks for a password"
    leave_out "$@"
fi
if ! $as_root unshare --net true 2>/dev/null; then
    reason="this machine does not allow network namespaces"
    leave_out "$@"
fi
for arguments; do
    echo "lab $arguments"
    began=$(date +%s)
    # shellcheck disable=SC2086 -- the arguments are words
    $as_root "$programs/lab" $arguments
    echo "that took $(($(date +%s) - began)) s"
done
