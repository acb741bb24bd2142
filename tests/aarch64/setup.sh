#!/usr/bin/env bash
# setup.sh FOLDER: builds in FOLDER an arm64 Python with numpy, pytest and hypothesis that runs under qemu's user-mode
# emulation, as FOLDER/python-cortex-a72 and FOLDER/python-cortex-a76. Steps that are done are not done again.
#
# Needs Debian on x86-64 with python3 and pip. The machine is changed by one package, qemu-user-static (root or sudo,
# where it is missing): arm64 packages are resolved in a package state of their own and unpacked, never installed.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
root=$folder/rootfs
site=$folder/site
log=$folder/setup.log

fail() {
  [ -f "$log" ] && tail -n 15 "$log" >&2
  echo "tests/aarch64/setup.sh: $1" >&2
  exit 1
}

if ! command -v qemu-aarch64-static >/dev/null; then
  command -v apt-get >/dev/null || fail "qemu-aarch64-static is missing, and there is no apt-get to install it with."
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends qemu-user-static; } >"$log" 2>&1 ||
    fail "qemu-user-static could not be installed."
fi

if [ ! -e "$root/complete" ]; then
  command -v dpkg >/dev/null || fail "dpkg is needed to unpack arm64 packages."
  state=$folder/apt
  rm -rf "$root" "$state"
  mkdir -p "$root" "$state/lists/partial" "$state/archives/partial"
  : >"$state/status"
  cat >"$state/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "$state";
Dir::State::status "$state/status";
Dir::Cache "$state";
CONF
  { APT_CONFIG=$state/apt.conf apt-get update &&
    APT_CONFIG=$state/apt.conf apt-get install --yes --download-only python3 libstdc++6; } >"$log" 2>&1 ||
    fail "the arm64 packages of Python could not be fetched."
  for package in "$state"/archives/*.deb; do dpkg --extract "$package" "$root"; done
  rm -rf "$state"
  touch "$root/complete"
fi
version=$(basename "$root"/usr/lib/python3.*)
version=${version#python}

if [ ! -e "$site/complete-$version" ]; then
  rm -rf "$site" "$folder/wheels"
  platforms=()
  for tag in 2014 _2_17 _2_24 _2_27 _2_28; do platforms+=(--platform "manylinux${tag}_aarch64"); done
  python3 -m pip download --quiet --only-binary=:all: --implementation cp --python-version "$version" \
    "${platforms[@]}" --dest "$folder/wheels" 'numpy>=1.26' 'pytest>=8' 'hypothesis>=6' >"$log" 2>&1 ||
    fail "the arm64 wheels of numpy, pytest and hypothesis could not be fetched."
  for wheel in "$folder"/wheels/*.whl; do python3 -m zipfile --extract "$wheel" "$site"; done
  rm -rf "$folder/wheels"
  touch "$site/complete-$version"
fi

# A board is a folder that qemu looks paths up in before it asks the machine: links to the libraries, and the board's
# own /proc/cpuinfo. The launcher is sys.executable of its Python, so that Python can start itself, too.
board() { # CPU, its number in /proc/cpuinfo, its features
  local prefix=$folder/$1 launcher=$folder/python-$1
  mkdir -p "$prefix/proc"
  for name in usr lib etc; do ln -sfn "../rootfs/$name" "$prefix/$name"; done
  for core in 0 1 2 3; do
    printf 'processor\t: %d\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: %s\n\n' \
      "$core" "$3" "$2"
  done >"$prefix/proc/cpuinfo"
  cat >"$launcher.new" <<LAUNCHER
#!/bin/sh
export PYTHONHOME='$root/usr' PYTHONPATH='$site'"\${PYTHONPATH:+:\$PYTHONPATH}" PYTHONPYCACHEPREFIX='$folder/bytecode'
unset PYTHONDONTWRITEBYTECODE OPENBLAS_CORETYPE LD_LIBRARY_PATH LD_PRELOAD
exec qemu-aarch64-static -cpu '$1' -L '$prefix' -0 '$launcher' '$root/usr/bin/python3' "\$@"
LAUNCHER
  chmod +x "$launcher.new"
  mv "$launcher.new" "$launcher"
}
board cortex-a72 0xd08 'fp asimd evtstrm crc32 cpuid'
board cortex-a76 0xd0b 'fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp'
for cpu in cortex-a72 cortex-a76; do
  "$folder/python-$cpu" -c 'import numpy, pytest, hypothesis' >"$log" 2>&1 || fail "Python does not run as $cpu."
done
