#!/usr/bin/env bash
# A proxy by CONNECT or SOCKS 5, as Debian has it: PORT FOLDER PROGRAM. squid and microsocks know one user, `al@ice`, with the password `o:pen/`; tinyproxy,
# which has no room for such characters, `alice` and `open`.
set -euo pipefail
port=$1 folder=$2 program=$3

# They work as users of their own.
chmod 755 "$folder"
touch "$folder/log"
chmod 666 "$folder/log"
case $program in
squid)
    cat >"$folder/knows" <<'END'
#!/bin/bash
while read -r line; do if [[ $line == 'al@ice o:pen/' ]]; then echo OK; else echo ERR; fi; done
END
    chmod 755 "$folder/knows"
    cat >"$folder/squid.conf" <<END
http_port 127.0.0.1:$port
pid_filename none
access_log stdio:$folder/log
cache_log $folder/log
cache deny all
coredump_dir $folder
auth_param basic program $folder/knows
auth_param basic children 1
auth_param basic realm here
acl known proxy_auth REQUIRED
acl forbidden port 9
http_access deny forbidden
http_access allow known
http_access deny all
shutdown_lifetime 0 seconds
END
    exec squid -N -f "$folder/squid.conf"
    ;;
tinyproxy)
    cat >"$folder/tinyproxy.conf" <<END
Listen 127.0.0.1
Port $port
Timeout 600
MaxClients 20
BasicAuth alice open
END
    exec tinyproxy -d -c "$folder/tinyproxy.conf"
    ;;
danted)
    cat >"$folder/danted.conf" <<END
logoutput: stdout
internal: 127.0.0.1 port = $port
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 port = 9 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
END
    exec danted -f "$folder/danted.conf" -p "$folder/pid"
    ;;
microsocks)
    exec microsocks -i 127.0.0.1 -p "$port" -u al@ice -P o:pen/
    ;;
esac
