#!/bin/sh
# Gives the two roles of 1-roles.sql their passwords, from the environment of the database's container.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
    -v owner="$TIEOUT_OWNER_PASSWORD" -v application="$TIEOUT_PASSWORD" <<'SQL'
ALTER ROLE tieout_owner PASSWORD :'owner';
ALTER ROLE tieout PASSWORD :'application';
SQL
