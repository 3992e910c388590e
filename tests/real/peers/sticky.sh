#!/usr/bin/env bash
# HAProxy before two servers, which keeps a client at one of them by a cookie: PORT FOLDER FIRST SECOND, the ports of the servers.
set -euo pipefail
port=$1 folder=$2 first=$3 second=$4

cat >"$folder/haproxy.cfg" <<END
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend in
    bind 127.0.0.1:$port
    default_backend out
backend out
    balance roundrobin
    cookie SRV insert indirect nocache
    server first 127.0.0.1:$first cookie first
    server second 127.0.0.1:$second cookie second
END
exec haproxy -db -f "$folder/haproxy.cfg"
