#!/usr/bin/env bash
# A server that asks for Digest authentication before a WebSocket server: PORT FOLDER PROGRAM UPSTREAM. apache2 (MD5, each nonce good once) or lighttpd (SHA-256).
# It knows the user `al` with the password `o:pen sesame`, and writes down each request with its status.
set -euo pipefail
port=$1 folder=$2 program=$3 upstream=$4
known='al:here:o:pen sesame'

case $program in
apache2)
    printf 'al:here:%s\n' "$(printf %s "$known" | md5sum | cut -d' ' -f1)" >"$folder/known"
    # It reads them as another user.
    chmod 755 "$folder" && chmod 644 "$folder/known"
    modules=/usr/lib/apache2/modules
    {
        for module in mpm_event authn_core authn_file authz_core authz_user auth_digest proxy proxy_http; do
            echo "LoadModule ${module}_module $modules/mod_$module.so"
        done
        cat <<END
ServerName localhost
Listen 127.0.0.1:$port
User www-data
Group www-data
DefaultRuntimeDir $folder
PidFile $folder/pid
ErrorLog /dev/stderr
CustomLog /dev/stdout "status=%>s authorization=%{Authorization}i"
<Location />
    AuthType Digest
    AuthName here
    AuthDigestProvider file
    AuthUserFile $folder/known
    AuthDigestNonceLifetime 0
    Require valid-user
    ProxyPass http://127.0.0.1:$upstream/ upgrade=websocket
</Location>
END
    } >"$folder/apache2.conf"
    exec apache2 -X -f "$folder/apache2.conf"
    ;;
lighttpd)
    printf 'al:here:%s\n' "$(printf %s "$known" | sha256sum | cut -d' ' -f1)" >"$folder/known"
    cat >"$folder/lighttpd.conf" <<END
server.document-root = "$folder"
server.bind = "127.0.0.1"
server.port = $port
server.modules = ("mod_auth", "mod_authn_file", "mod_proxy", "mod_accesslog")
server.errorlog = "/dev/stderr"
accesslog.filename = "$folder/log"
accesslog.format = "status=%s authorization=%{Authorization}i"
auth.backend = "htdigest"
auth.backend.htdigest.userfile = "$folder/known"
auth.require = ("" => ("method" => "digest", "algorithm" => "SHA-256|MD5", "realm" => "here", "require" => "valid-user"))
proxy.server = ("" => (("host" => "127.0.0.1", "port" => $upstream)))
proxy.header = ("upgrade" => "enable")
END
    exec lighttpd -D -f "$folder/lighttpd.conf"
    ;;
*)
    echo "there is no $program here" >&2
    exit 2
    ;;
esac
