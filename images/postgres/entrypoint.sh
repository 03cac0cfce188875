#!/bin/bash
# Makes an empty cluster when there is none, then becomes PostgreSQL. Databases, roles and passwords follow from a catalogue.
set -euo pipefail

if [[ ! -e "$PGDATA/PG_VERSION" ]]; then
  # Made aside and renamed when whole, so that a start that was cut short leaves nothing half-made behind.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
    --auth-local=peer --auth-host=scram-sha-256
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/coffre-postgres/postgresql.conf "$@"
