#!/bin/bash
# Makes an empty cluster when there is none, then becomes PostgreSQL. Databases, roles and passwords follow from a catalogue.
set -euo pipefail

# Who administers it over the network, where the catalogue has a first password for that; the first deploy replaces it.
# Data that come from a machine without such a user have the roles that a superuser made, which are handed on.
administrator() {
  local password
  password=$(< /run/secrets/postgres-initial-password)
  # Only builtins have the password in their arguments: it goes through a pipe, and becomes a verifier in there.
  printf "DO \$make\$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'coffre') THEN
    CREATE ROLE coffre LOGIN CREATEROLE CREATEDB PASSWORD '%s'; END IF; END \$make\$;\n\n" "${password//\'/\'\'}"
  printf "GRANT SET ON PARAMETER log_statement, log_min_duration_statement, log_min_error_statement TO coffre;\n\n"
  printf "DO \$hand\$ DECLARE name name; BEGIN
    FOR name IN SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolname !~ '^pg_' AND rolname <> 'coffre' LOOP
      EXECUTE format('GRANT %%I TO coffre WITH ADMIN TRUE, INHERIT TRUE, SET TRUE', name);
    END LOOP; END \$hand\$;\n\n"
}

if [[ ! -e "$PGDATA/PG_VERSION" ]]; then
  # Made aside and renamed when whole, so that a start that was cut short leaves nothing half-made behind.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
    --auth-local=peer --auth-host=scram-sha-256
  mv "$PGDATA.new" "$PGDATA"
fi
# Once for these data: a start is quicker without.
if [[ -e /run/secrets/postgres-initial-password && ! -e "$PGDATA/coffre.administered" ]]; then
  # Neither a statement nor where it failed is logged.
  administrator | postgres --single -j -D "$PGDATA" -c exit_on_error=on -c log_min_error_statement=panic \
    -c log_error_verbosity=terse postgres > /dev/null
  : > "$PGDATA/coffre.administered"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/coffre-postgres/postgresql.conf "$@"
