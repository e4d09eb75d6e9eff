#!/bin/sh
# Installs the Debian packages that the lab needs and that are missing, without starting their
# services. As root, or by sudo where it needs no password; without either it says so and ends
# with 1. Those that are only welcome may fail: the tests that use them leave themselves out.
set -eu

wanted="iproute2 nftables iptables util-linux procps unbound bind9 bind9-dnsutils haproxy nginx-light
        tcpdump curl openssl libfaketime"
# Prometheus reads metrics and rules, a browser the page, Alertmanager what people are told; debhelper and
# debootstrap make the packages and something to install them on.
welcome="prometheus prometheus-alertmanager chromium debhelper debootstrap"

lacking() {
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            printf ' %s' "$package"
    done
}

# shellcheck disable=SC2086 -- the lists are words
missing=$(lacking $wanted)
# shellcheck disable=SC2086
unwelcomed=$(lacking $welcome)
# Any nginx will do.
if command -v /usr/sbin/nginx >/dev/null 2>&1; then
    missing=$(printf '%s' "$missing" | sed 's/ nginx-light//')
fi
[ -n "$missing$unwelcomed" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
elif [ -z "$missing" ]; then
    exit 0
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

install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@"
}

updated=0
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update || updated=$?
# shellcheck disable=SC2086
[ -z "$unwelcomed" ] || install $unwelcomed || echo "not to be had:$unwelcomed"
[ -n "$missing" ] || exit 0
[ "$updated" -eq 0 ] || exit "$updated"
# shellcheck disable=SC2086
install $missing
