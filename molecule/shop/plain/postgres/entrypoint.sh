set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
  printf %s "${POSTGRES_PASSWORD:-$(cat "$POSTGRES_PASSWORD_FILE")}" |
    initdb --username="$POSTGRES_USER" --pwfile=/dev/stdin --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_USER" | postgres --single -j postgres
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
