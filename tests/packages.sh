#!/bin/sh
# Installs the Debian packages that the lab needs and that are missing, without starting their
# services. As root, or by sudo where it needs no password; without either it says so and ends
# with 1.
set -eu

wanted="iproute2 nftables iptables util-linux procps unbound bind9 bind9-dnsutils haproxy nginx-light
        tcpdump curl prometheus"

missing=""
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
# Any nginx will do.
if command -v /usr/sbin/nginx >/dev/null 2>&1; then
    missing=$(printf '%s' "$missing" | sed 's/ nginx-light//')
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "missing packages, and neither root nor sudo to install them:$missing" >&2
    exit 1
fi

# A policy-rc.d that says 101 keeps the packages from starting their services (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
# shellcheck disable=SC2086 -- the list is words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing
