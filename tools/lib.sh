# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the shell tools share: messages, root, packages. Source it after `set -euo pipefail`.
# It needs nothing but bash and coreutils, since tools/setup runs before anything is installed.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the tools that source this file
readonly repo

# Progress goes to stderr, so that a tool's own output can be piped.
say() { printf '==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# as_root COMMAND...: directly when we are root, else through sudo.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "'$*' needs root, and there is no sudo here: run it as root, then run this again"
	fi
}

# missing_packages NAME...: prints those that dpkg does not have installed, one a line.
missing_packages() {
	local name
	for name in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
	done
}

# install_packages NAME...: installs what is missing; quick and silent when nothing is.
install_packages() {
	local -a missing
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null ||
		die "no apt-get here: install the equivalents of these Debian packages yourself: ${missing[*]}"
	say "installing ${#missing[@]} packages with apt: ${missing[*]}"
	if ! as_root apt-get update -q >&2; then
		note "apt-get update failed for a source; trying with the lists that are here"
	fi
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >&2 ||
		die "apt could not install: ${missing[*]} (its messages are above)"
}

# host_kvm: prints "hardware", "software" or "none": what /dev/kvm is backed by, judged by what the CPU offers.
host_kvm() {
	if [ ! -e /dev/kvm ]; then
		echo none
	elif grep -qwE 'vmx|svm' /proc/cpuinfo; then
		echo hardware
	else
		echo software
	fi
}

# configure DIR OPTION...: `meson setup`, or new options for a directory that is there; $CC is the compiler.
configure() {
	local dir=$1
	shift
	if [ -f "$dir/build.ninja" ]; then
		meson configure "$dir" "$@"
	else
		meson setup "$dir" "$repo" "$@"
	fi
}
