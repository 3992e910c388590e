#!/usr/bin/env bash
# A balancer with TLS that speaks HTTP/2 in front and opens WebSockets behind by HTTP/1.1: PORT FOLDER PROGRAM UPSTREAM CERT KEY [CA]. haproxy or nghttpx.
# haproxy demands certificates of CA from its clients.
set -euo pipefail
port=$1 folder=$2 program=$3 upstream=$4 cert=$5 key=$6 clients=${7:+ca-file $7 verify required}

case $program in
haproxy)
    cat "$cert" "$key" >"$folder/pair.pem"
    cat >"$folder/haproxy.cfg" <<END
global
    log stdout format raw local0
    hard-stop-after 1s
defaults
    mode http
    log global
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend front
    bind 127.0.0.1:$port ssl crt $folder/pair.pem alpn h2,http/1.1 $clients
    default_backend back
backend back
    server one 127.0.0.1:$upstream
END
    exec haproxy -db -f "$folder/haproxy.cfg"
    ;;
nghttpx)
    exec nghttpx --conf=/dev/null --single-process --single-thread --no-ocsp --workers=1 --errorlog-file=/dev/stderr --accesslog-file=/dev/stdout \
        --frontend="127.0.0.1,$port" --backend="127.0.0.1,$upstream" "$key" "$cert"
    ;;
*)
    echo "there is no $program here" >&2
    exit 2
    ;;
esac
