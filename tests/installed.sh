#!/bin/sh
# The Debian packages in a fresh Debian 12: installed, used, installed again, purged. The binaries are those in
# the folder given, optimised or not. Needs root, debootstrap, debhelper and a Debian mirror; without one of them
# it says so and ends well.
set -eu

left_out() {
    echo "the packages are not tested: $*"
    exit 0
}
[ "$(id -u)" -eq 0 ] || left_out "that needs root"
for tool in debootstrap dh; do
    command -v "$tool" >/dev/null || left_out "$tool is missing"
done

work=$(mktemp -d)
root=$work/debian
daemons=
end() {
    # shellcheck disable=SC2086 -- process ids are words
    [ -z "$daemons" ] || kill $daemons 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap end EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
inside() { chroot "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }
# Everything but what dpkg writes down of itself.
files() {
    (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache -o -path ./run -o \
        -path ./tmp \) \
        -prune -o -print | sort)
}

deploy/dist.sh "$1" "$work/dist"
debootstrap --variant=minbase --include=systemd,procps bookworm "$root" >"$work/log" 2>&1 ||
    left_out "there is no Debian to install: $(tail -n 1 "$work/log")"
files >"$work/before"
mkdir "$root/tmp/debs"
cp "$work"/dist/*.deb "$root/tmp/debs"

echo "installing"
inside sh -c 'dpkg --install /tmp/debs/*.deb' >"$work/log" 2>&1 || { cat "$work/log"; fail "dpkg --install"; }
for program in mesh-coordinator mesh-agent meshctl; do
    inside "$program" --version
    [ -s "$root/usr/share/man/man1/$program.1.gz" ] || fail "no manual page of $program"
done
for file in bash-completion/completions/meshctl zsh/vendor-completions/_meshctl \
    fish/vendor_completions.d/meshctl.fish mesh-coordinator/prometheus/mesh.rules.yml \
    mesh-coordinator/grafana/mesh-services.json mesh-agent/witness.conf; do
    [ -s "$root/usr/share/$file" ] || fail "no /usr/share/$file"
done
for unit in mesh-coordinator mesh-agent; do
    [ "$(inside stat -c %a "/etc/$unit.env")" = 600 ] || fail "anybody can read /etc/$unit.env"
    if inside systemctl is-enabled "$unit" >/dev/null 2>&1; then
        fail "$unit is started before anybody has set it up"
    fi
    said=$(inside systemd-analyze verify --man=no "$unit.service" 2>&1) || fail "$unit.service: $said"
    [ -z "$said" ] || fail "$unit.service: $said"
    # Tenths: what README promises is 1.1.
    said=$(inside systemd-analyze security --offline=true --threshold=11 --no-pager "$unit.service") ||
        fail "$unit.service has more than it needs: $said"
    echo "$said" | tail -n 1
done

echo "using what was installed"
# As systemd lays out the folders of units with DynamicUser=.
state() {
    install -d -m 0700 "$root/var/lib/private" "$root/var/lib/private/$1"
    ln -s "private/$1" "$root/var/lib/$1"
}
state mesh-coordinator
state mesh-agent
inside mesh-coordinator run --data-dir /var/lib/mesh-coordinator --listen 127.0.0.1:0 2>"$work/coordinator.log" &
daemons="$daemons $!"
tries=0
until [ -s "$root/var/lib/mesh-coordinator/admin.toml" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { cat "$work/coordinator.log"; fail "the coordinator does not start"; }
    sleep 0.1
done
mesh() { inside meshctl --context /var/lib/mesh-coordinator/admin.toml "$@"; }
mesh status --wait 10s
token=$(mesh agent token --name dc1 --role inside)
inside mesh-agent run --data-dir /var/lib/mesh-agent --join "$token" 2>"$work/agent.log" &
daemons="$daemons $!"
tries=0
until mesh agent show dc1 -o json | grep -q '"state": "connected"'; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$work/agent.log"; fail "the agent does not connect"; }
    sleep 0.1
done
mesh agent list
# shellcheck disable=SC2086
kill $daemons
# shellcheck disable=SC2086
wait $daemons || true
daemons=

echo "installing again"
echo 'OPTIONS=--resolver 192.0.2.1' >>"$root/etc/mesh-agent.env"
inside sh -c 'dpkg --install /tmp/debs/*.deb' >"$work/log" 2>&1 || { cat "$work/log"; fail "dpkg --install again"; }
grep -q '^OPTIONS=' "$root/etc/mesh-agent.env" || fail "what was written into /etc/mesh-agent.env is gone"

echo "purging"
install -D -m 0644 "$root/usr/share/mesh-agent/witness.conf" \
    "$root/etc/systemd/system/mesh-agent.service.d/witness.conf"
inside dpkg --purge mesh-coordinator mesh-agent meshctl >"$work/log" 2>&1 || { cat "$work/log"; fail "dpkg --purge"; }
files >"$work/after"
diff "$work/before" "$work/after" || fail "the purge leaves something"
echo "the packages are installed, work, and leave nothing"
