#!/usr/bin/env bash
# Runs a command where TCP senders do not pace: in a network of its own when this machine's do (bbr), else right here.
#
# Pacing is one timer for every 64 KiB that are sent, armed by every sender: client and backend as well. On a virtual
# machine such a timer costs tens of microseconds of whichever program is running, so a benchmark over loopback would
# measure timers (docs/performance.md, "Senders that pace").
set -euo pipefail

setting=/proc/sys/net/ipv4/tcp_congestion_control
paces() { [[ $(cat $setting) == bbr* ]]; }

if [ "${1:-}" = --inside ]; then
    shift
    ip link set lo up
    # Only what the kernel has built in or loaded can be chosen here.
    echo cubic >$setting 2>/dev/null || echo reno >$setting
    exec "$@"
fi
if paces; then
    for own in "unshare --net" "unshare --map-root-user --net"; do
        # Unquoted: a command and its options.
        if $own ip link set lo up 2>/dev/null; then
            exec $own "$0" --inside "$@"
        fi
    done
    echo "loadtest: $(cat $setting) paces what is sent, and no network of our own can be had here (it takes root, unshare" \
        "and ip): bulk will be a measure of timers; sysctl net.ipv4.tcp_congestion_control=cubic changes that" >&2
fi
exec "$@"
