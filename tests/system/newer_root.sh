#!/usr/bin/env bash
# Print the path of a small Debian sid root with gdb and each Python from 3.14 on that sid has.
#
# It is made once, and kept in the user's cache: remove it there to get a newer one. Making it needs
# root, debootstrap, and Debian's archive among apt's sources: it is taken from their first mirror.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gencore-tests
root=$cache/debian-sid
half=$cache/debian-sid.part

pythons_of() { # MIRROR: the packages of each Python, and the headers that its modules are built with
  wget -qO- "$1/dists/sid/main/binary-$(dpkg --print-architecture)/Packages.gz" | gzip -dc |
    sed -n 's/^Package: \(python3\.\([0-9]*\)\)$/\2 \1,lib\1-dev/p' |
    awk '$1 >= 14 { print $2 }' | paste -sd,
}

make_root() {
  local mirror pythons
  # shellcheck disable=SC2016 # apt-get fills it in
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    sed -n '/^http/ { s,/*$,,p; q }')
  [[ $mirror ]] || { echo "apt has no mirror by http or https" && return 1; }
  pythons=$(pythons_of "$mirror")
  [[ $pythons ]] || { echo "no Python from 3.14 on at $mirror" && return 1; }
  # In a mount namespace of its own: what debootstrap mounts is gone when it is, however it ends.
  unshare --mount debootstrap --variant=minbase --include="$pythons,gdb,libc6-dbg" \
    sid "$half" "$mirror"
  rm -r "$half"/var/cache/apt "$half"/var/lib/apt/lists "$half"/usr/share/{doc,locale,man}
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [[ ! -d $root ]]; then
  rm -rf --one-file-system "$half" # of a run that was interrupted
  make_root >&2
  mv "$half" "$root"
fi
echo "$root"
