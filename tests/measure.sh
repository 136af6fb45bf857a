#!/usr/bin/env bash
# Measures a gateway and an agent between wrk/curl and nginx on this machine; prints a table.
#
#   tests/measure.sh [rounds]        (make measure builds the programs first)
#
# CPU is user and system time of exactly the two processes, from /proc. All parties share this
# machine and speak over loopback only; every load is bounded in time and count.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
bin=$(pwd)/${CARGO_TARGET_DIR:-target}/release
case "${CARGO_TARGET_DIR:-}" in /*) bin=$CARGO_TARGET_DIR/release ;; esac
seconds=5
connections=64
work=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

cd "$work"
"$bin/adit" pki init --dir pki >/dev/null
"$bin/adit" pki issue gateway --dir pki --name gw-1 --out gw >/dev/null
"$bin/adit" pki issue agent --dir pki --subaccount acme --name a1 --out agent >/dev/null
"$bin/adit" token issuer init --dir issuer >/dev/null
"$bin/adit" token issue --dir issuer --subaccount acme --out token >/dev/null
mkdir -p www/data tmp
head -c 1024 /dev/urandom >www/data/1k
head -c 1000000000 /dev/zero >www/data/1g
port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
nginx_port=$(port) tunnel_port=$(port) http_port=$(port) socks_port=$(port) admin_port=$(port)

# The folder is private, so nginx must not change its user.
user=""
[ "$(id -u)" = 0 ] && user="user root;"
cat >nginx.conf <<N
$user daemon off; worker_processes 1; error_log $work/nginx.log; pid $work/nginx.pid;
events { worker_connections 4000; }
http {
  access_log off; keepalive_requests 100000000; client_max_body_size 0; sendfile on;
  client_body_temp_path $work/tmp; proxy_temp_path $work/tmp; fastcgi_temp_path $work/tmp;
  uwsgi_temp_path $work/tmp; scgi_temp_path $work/tmp;
  server {
    listen 127.0.0.1:$nginx_port; root $work/www;
    location /up { dav_methods PUT; create_full_put_path on; }
  }
}
N
cat >gateway.toml <<G
[gateway]
name = "gw-1"
[tunnel]
listen = "127.0.0.1:$tunnel_port"
certificate = "gw/cert.pem"
key = "gw/key.pem"
roots = "gw/ca.pem"
[http]
listen = "127.0.0.1:$http_port"
[socks5]
listen = "127.0.0.1:$socks_port"
[token]
jwks = "issuer/jwks.json"
issuers = ["adit-dev"]
audiences = ["adit"]
algorithms = ["EdDSA"]
[admin]
socket = "gw/admin.sock"
[runtime]
shards = 1
G
cat >agent.toml <<A
[agent]
state = "agent/state"
[tunnel]
gateways = ["127.0.0.1:$tunnel_port"]
certificate = "agent/cert.pem"
key = "agent/key.pem"
roots = "agent/ca.pem"
[admin]
socket = "agent/admin.sock"
listen = "127.0.0.1:$admin_port"
[runtime]
shards = 1
A
cat >rules.toml <<R
[[system]]
virtual = "web.virtual:80"
protocol = "http"
internal = "http://127.0.0.1:$nginx_port"
allow_loopback = true
[[system.resource]]
path = "/data"
scope = "subtree"
[[system.resource]]
path = "/up"
scope = "subtree"
R
cat >load.lua <<L
local f = io.open("$work/token"); local t = f:read("*a"):gsub("%s+", ""); f:close()
wrk.path = "http://web.virtual/data/1k"
wrk.headers["Proxy-Authorization"] = "Bearer " .. t
wrk.headers["Host"] = "web.virtual"
L
echo 'wrk.path = "/data/1k"' >direct.lua

nginx -c "$work/nginx.conf" & pids+=($!)
"$bin/aditd" gateway --config gateway.toml >gw.log 2>&1 & gw=$!; pids+=($gw)
"$bin/aditd" agent --config agent.toml >ag.log 2>&1 & ag=$!; pids+=($ag)
for _ in $(seq 200); do [ -S agent/admin.sock ] && break; sleep 0.05; done
"$bin/adit" rules push rules.toml --node "unix:$work/agent/admin.sock" >/dev/null
for _ in $(seq 200); do curl -sf "http://127.0.0.1:$admin_port/readyz" >/dev/null && break; sleep 0.05; done

ticks=$(getconf CLK_TCK)
cpu() { # seconds of both processes together
    awk -v t="$ticks" '{ s += $14 + $15 } END { printf "%.2f", s / t }' "/proc/$gw/stat" "/proc/$ag/stat"
}
median() { sort -g | awk '{ a[NR] = $1 } END { print (NR % 2) ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'; }
token=$(cat token)
proxy=(-x "http://127.0.0.1:$http_port" --proxy-header "Proxy-Authorization: Bearer $token")

for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    wrk -t1 -c$connections -d${seconds}s -s direct.lua "http://127.0.0.1:$nginx_port" >direct.out
    awk '/requests in/ { n = $1 } /Requests\/sec/ { print $2 } ' direct.out >>direct.rps
    before=$(cpu)
    wrk -t1 -c$connections -d${seconds}s --latency -s load.lua "http://127.0.0.1:$http_port" >load.out
    after=$(cpu)
    awk '/Requests\/sec/ { print $2 }' load.out >>load.rps
    requests=$(awk '/requests in/ { print $1 }' load.out)
    awk '/Non-2xx/ { print; exit 1 } /Socket errors/ { print; exit 1 }' load.out >&2 || { cat load.out >&2; exit 1; }
    awk -v a="$after" -v b="$before" -v n="$requests" 'BEGIN { print (a - b) / n * 1e6 }' >>load.cpu
    awk '$1 == "99%" { v = $2; if (v ~ /us/) { sub("us", "", v); print v / 1000 } else if (v ~ /ms/) { sub("ms", "", v); print v } else { sub("s", "", v); print v * 1000 } }' load.out >>load.p99
    before=$(cpu)
    curl -sf "${proxy[@]}" http://web.virtual/data/1g -o /dev/null
    after=$(cpu)
    awk -v a="$after" -v b="$before" 'BEGIN { print a - b }' >>down.cpu
    before=$(cpu)
    curl -sf "${proxy[@]}" -H 'Expect:' -T www/data/1g http://web.virtual/up/1g -o /dev/null
    after=$(cpu)
    awk -v a="$after" -v b="$before" 'BEGIN { print a - b }' >>up.cpu
done
rm -rf www/up
rss() { awk '/VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }

printf '\n%s, %s cores, Linux %s; medians of %s rounds; gateway and agent with one shard each\n\n' \
    "$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)" "$(nproc)" "$(uname -r)" "$rounds"
printf '| what | figure |\n|---|---|\n'
printf '| GET of 1 KB, keep-alive, %s connections | %.0f requests/s (nginx alone: %.0f) |\n' $connections "$(median <load.rps)" "$(median <direct.rps)"
printf '| the same, CPU of gateway and agent together | %.1f us a request |\n' "$(median <load.cpu)"
printf '| the same, p99 | %.2f ms |\n' "$(median <load.p99)"
printf '| download of 1 GB, one stream, CPU of both | %.2f s |\n' "$(median <down.cpu)"
printf '| upload of 1 GB, one stream, CPU of both | %.2f s |\n' "$(median <up.cpu)"
printf '| memory afterwards (RSS), gateway / agent | %s / %s MB |\n' "$(rss "$gw")" "$(rss "$ag")"
