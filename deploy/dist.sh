#!/bin/sh
# Packs programs that are built: a tarball and Debian packages of coordinator, agent and meshctl, and their
# checksums. From the project's folder:
#   deploy/dist.sh FOLDER-OF-THE-BINARIES FOLDER-FOR-THE-RESULT
# Debian's debhelper makes the packages; where it is missing, that is said and nothing is made. The same binaries,
# at the same commit, make the same bytes.
set -eu

built=$(realpath "$1")
mkdir -p "$2"
result=$(realpath "$2")
if ! command -v dh >/dev/null; then
    echo "deploy/dist.sh: debhelper is missing, so nothing was packed: apt-get install debhelper" >&2
    exit 1
fi
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One folder has everything that is packed, as users of the tarball find it.
name=probing-mesh-$version-$(uname -m)-linux
stage=$work/$name
mkdir -p "$stage/bin" "$stage/completions"
for program in mesh-coordinator mesh-agent meshctl; do
    strip -o "$stage/bin/$program" "$built/$program"
    "$stage/bin/$program" man --dir "$stage/man" >/dev/null 2>&1 ||
        { echo "deploy/dist.sh: $built/$program writes no manual pages" >&2; exit 1; }
done
cp -r README.md CHANGELOG.md docs deploy/grafana deploy/prometheus deploy/*.toml deploy/*.service \
    deploy/mesh-agent.service.d/witness.conf "$stage"
# Found by their name in the search path, the programs are completed wherever they are.
complete() { PATH=$stage/bin:$PATH COMPLETE=$1 meshctl >"$stage/completions/$2"; }
complete bash meshctl
complete zsh _meshctl
complete fish meshctl.fish

# What an earlier version left would be listed among the checksums.
rm -f "$result"/probing-mesh-*.tar.gz "$result"/mesh*.deb "$result/SHA256SUMS"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mode=go+rX,u+w,go-w \
    --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -n9 >"$result/$name.tar.gz"

cp -r deploy/debian "$stage"
cp "$stage"/*.service "$stage/debian"
cat >"$stage/debian/changelog" <<CHANGES
probing-mesh ($version) stable; urgency=medium

  * What changed stands in the project's own CHANGELOG.md.

 -- $(sed -n 's/^Maintainer: //p' deploy/debian/control)  $(date -uRd "@$SOURCE_DATE_EPOCH")
CHANGES
if ! (cd "$stage" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps) >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
fi
mv "$work"/*.deb "$result"

cd "$result"
sha256sum -- *.tar.gz *.deb >SHA256SUMS
cat SHA256SUMS
