#!/bin/bash
# Makes an empty cluster when there is none, then becomes PostgreSQL. Databases, roles and passwords follow from a catalogue.
set -euo pipefail

# Who administers it over the network, where the catalogue has a first password for that; the first deploy replaces it.
administrator() {
  local password
  password=$(< /run/secrets/postgres-initial-password)
  # Only builtins have the password in their arguments: it goes through a pipe, and becomes a verifier in there.
  printf "CREATE ROLE coffre LOGIN CREATEROLE CREATEDB PASSWORD '%s';\n\n" "${password//\'/\'\'}"
  printf "GRANT SET ON PARAMETER log_statement, log_min_duration_statement, log_min_error_statement TO coffre;\n\n"
}

if [[ ! -e "$PGDATA/PG_VERSION" ]]; then
  # Made aside and renamed when whole, so that a start that was cut short leaves nothing half-made behind.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
    --auth-local=peer --auth-host=scram-sha-256
  if [[ -e /run/secrets/postgres-initial-password ]]; then
    administrator | postgres --single -j -D "$PGDATA.new" -c exit_on_error=on -c log_min_error_statement=panic postgres > /dev/null
  fi
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/coffre-postgres/postgresql.conf "$@"
