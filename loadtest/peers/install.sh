#!/bin/sh
# Installs the peers of `make loadtest`: Debian packages by apt-get, rathole by cargo into target/peers.
# What cannot be had is told in a line and left out; the load test runs without it.
set -eu
cd "$(dirname "$0")/../.."

need=""
want() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || need="$need $2"
}
want sshd openssh-server
want ssh openssh-client
want haproxy haproxy
want nginx nginx
want ip iproute2
if ! command -v rathole >/dev/null 2>&1 && [ ! -x target/peers/bin/rathole ]; then
    want pkg-config pkg-config
    [ -e /usr/include/openssl/ssl.h ] || need="$need libssl-dev"
fi
if [ -n "$need" ]; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    echo "installing:$need"
    # Services must not start by themselves: the load test starts its own, with its own keys and ports.
    # shellcheck disable=SC2086
    { $sudo apt-get update -qq &&
        $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $need >/dev/null; } ||
        echo "left out, apt-get could not install them:$need"
fi

if ! command -v rathole >/dev/null 2>&1 && [ ! -x target/peers/bin/rathole ]; then
    echo "building rathole (some minutes)"
    # Not --locked: the versions of its lock file do not build with a Rust of today.
    cargo install rathole --version 0.5.0 --no-default-features \
        --features server,client,tls --root target/peers >target/peers-rathole.log 2>&1 ||
        echo "left out: rathole could not be built, see target/peers-rathole.log"
fi
for program in wstunnel frps chisel; do
    command -v "$program" >/dev/null 2>&1 || echo "left out: $program is not installed; put it on PATH to compare with it"
done
