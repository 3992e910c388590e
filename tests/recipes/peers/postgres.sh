#!/usr/bin/env bash
# PostgreSQL in this folder, with the user `postgres` without a password: PORT. Not as root, which it refuses.
set -euo pipefail
programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
as=()
if [[ $(id -u) == 0 ]]; then
    # The other user has to get here.
    chmod o+x ../.. .. .
    chown nobody: .
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
fi
if [[ ! -e data ]]; then "${as[@]}" "$programs/initdb" --pgdata=data --username=postgres --auth=trust --no-sync >/dev/null; fi
exec "${as[@]}" "$programs/postgres" -D data -p "$1" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off
