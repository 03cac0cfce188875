#!/bin/bash
# Makes the cluster when there is none, then becomes PostgreSQL. No password is involved: roles get theirs later.
set -euo pipefail

if [[ ! -e "$PGDATA/PG_VERSION" ]]; then
  # Made aside and renamed when whole, so that a start that was cut short leaves nothing half-made behind.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
    --auth-local=peer --auth-host=scram-sha-256
  postgres --single -j -c exit_on_error=on -D "$PGDATA.new" postgres < /etc/coffre-postgres/roles.sql >/dev/null
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/coffre-postgres/postgresql.conf "$@"
