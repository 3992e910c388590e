#!/usr/bin/env bash
# RabbitMQ with STOMP over WebSocket, as root and without its service: PORT FOLDER [MQTT]. It knows `keeper` with the password "pass 1", and `watcher`.
# With a port for MQTT over WebSocket it speaks that too, and has smaller windows for STOMP and no context of its own.
set -euo pipefail
port=$1 folder=$2 mqtt=${3-}
mkdir -p "$folder"
if [[ ! -e $folder/ports ]]; then
    # Two more ports: of Erlang's name server, which would listen on all addresses, and of the node.
    python3 -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[one.getsockname()[1] for one in held])' >"$folder/ports"
fi
read -r names node <"$folder/ports"
cat >"$folder/rabbitmq.conf" <<CONF
listeners.tcp = none
stomp.listeners.tcp = none
web_stomp.tcp.listener = 127.0.0.1:$port
load_definitions = $folder/definitions.json
log.console = true
log.console.level = debug
log.console.use_colors = off
log.file = false
CONF
cat >"$folder/definitions.json" <<JSON
{"vhosts": [{"name": "/"}],
 "users": [{"name": "keeper", "password": "pass 1", "tags": ""}, {"name": "watcher", "password": "watcher", "tags": ""}],
 "permissions": [{"user": "keeper", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
                 {"user": "watcher", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]}
JSON
echo '[rabbitmq_web_stomp].' >"$folder/plugins"
if [[ $mqtt ]]; then
    echo '[rabbitmq_web_stomp,rabbitmq_web_mqtt].' >"$folder/plugins"
    printf 'mqtt.listeners.tcp = none\nweb_mqtt.tcp.listener = 127.0.0.1:%s\n' "$mqtt" >>"$folder/rabbitmq.conf"
    deflate='#{server_max_window_bits => 10, client_max_window_bits => 11, server_context_takeover => no_takeover}'
    echo "[{rabbitmq_web_stomp, [{cowboy_ws_opts, [{compress, true}, {deflate_opts, $deflate}]}]}]." >"$folder/advanced.config"
    export RABBITMQ_ADVANCED_CONFIG_FILE=$folder/advanced.config
fi
export HOME=$folder ERL_CRASH_DUMP_BYTES=0 ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$names
export RABBITMQ_NODENAME="keeper$port@localhost" RABBITMQ_DIST_PORT=$node RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_MNESIA_BASE=$folder/mnesia RABBITMQ_LOG_BASE=$folder/logs RABBITMQ_PID_FILE=$folder/pid
export RABBITMQ_CONFIG_FILE=$folder/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$folder/plugins
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
# Then the script becomes the broker, so that its process is the one to kill; the name server goes with it.
export RUNNING_UNDER_SYSTEMD=1
setpriv --pdeathsig KILL epmd -address 127.0.0.1 -port "$names" &
exec /usr/lib/rabbitmq/bin/rabbitmq-server
