#!/bin/sh
# Makes sure that the peers the tests speak to are there: command, Debian package.
set -eu

need=""
want() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || need="$need $2"
}
want nginx nginx
want haproxy haproxy
want redis-server redis-server
want redis-cli redis-tools
want rsyslogd rsyslog
[ -e /usr/lib/rsyslog/lmnsd_gtls.so ] || ls /usr/lib/*/rsyslog/lmnsd_gtls.so >/dev/null 2>&1 || need="$need rsyslog-gnutls"
want etcd etcd-server
want openssl openssl
want curl curl
want wrk wrk
want valgrind valgrind
want strace strace
want python3 python3
python3 -c 'import ensurepip' 2>/dev/null || need="$need python3-venv"
python3 -c 'import websockets' 2>/dev/null || [ -d /usr/lib/python3/dist-packages/websockets ] || need="$need python3-websockets"

# No package of Debian's: in a folder of its own, which `cargo clean` removes.
schemathesis() {
    folder="$(dirname "$0")/../target/schemathesis"
    [ -x "$folder/bin/schemathesis" ] && return 0
    echo "installing a peer of the tests: schemathesis"
    mkdir -p "$folder"
    if ! { python3 -m venv "$folder" && timeout 300 "$folder/bin/pip" install -q 'schemathesis==4.32.5'; }; then
        rm -rf "$folder"
        echo "schemathesis could not be installed by pip; name one in ADIT_TEST_SCHEMATHESIS" >&2
        exit 1
    fi
}

if [ -z "$need" ]; then
    schemathesis
    exit 0
fi
echo "installing the peers of the tests:$need"
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "these programs are missing and there is no apt-get; install them by hand:$need" >&2
    exit 1
fi
$sudo apt-get update -qq
# Services that Debian starts by itself are not wanted: the tests start their own.
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null
schemathesis
