# Makes an empty cluster when there is none, then becomes PostgreSQL: roles and the database follow from the catalogue.
set -euo pipefail
if [[ ! -e "$PGDATA/PG_VERSION" ]]; then
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --auth-local=peer --auth-host=reject
  printf '%s\n' 'host all postgres all reject' 'host all all samenet scram-sha-256' >> "$PGDATA.new/pg_hba.conf"
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/run/postgresql -c shared_buffers=32MB \
  -c log_min_error_statement=panic -c log_statement=none "$@"
