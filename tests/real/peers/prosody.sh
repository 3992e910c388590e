#!/usr/bin/env bash
# Prosody with XMPP over WebSocket, as root and without its service: PORT FOLDER. It knows keeper@localhost with the password "pass 1".
set -euo pipefail
port=$1 folder=$2
cat >"$folder/prosody.cfg.lua" <<LUA
run_as_root = true
daemonize = false
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
modules_enabled = { "roster", "saslauth", "disco", "ping", "websocket" }
modules_disabled = { "s2s", "offline" }
c2s_ports = {}
s2s_ports = {}
http_ports = { $port }
http_interfaces = { "127.0.0.1" }
https_ports = {}
consider_websocket_secure = true
authentication = "internal_plain"
log = { debug = "*console" }
VirtualHost "localhost"
LUA
if [[ ! -d $folder/data ]]; then
    mkdir "$folder/data"
    prosodyctl --config "$folder/prosody.cfg.lua" register keeper localhost 'pass 1'
fi
exec prosody --config "$folder/prosody.cfg.lua" -F
