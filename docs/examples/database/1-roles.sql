-- The two roles of a production database. Run once, by a superuser connected to the database, before the first migration:
--
--   psql -d tieout -f 1-roles.sql
--
-- `tieout_owner` owns every table and is used by `manage.py migrate` alone. `tieout` is what web, workers, scheduler and all other
-- commands sign in as: it reads and writes rows, and neither empties a table nor switches a trigger off. Nothing here sets a password.

CREATE ROLE tieout_owner LOGIN;
CREATE ROLE tieout LOGIN;

ALTER DATABASE :"DBNAME" OWNER TO tieout_owner;
GRANT CREATE, USAGE ON SCHEMA public TO tieout_owner;
GRANT USAGE ON SCHEMA public TO tieout;

ALTER DEFAULT PRIVILEGES FOR ROLE tieout_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tieout;
ALTER DEFAULT PRIVILEGES FOR ROLE tieout_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO tieout;

-- Where Tieout stands already, its tables were made by somebody else: `REASSIGN OWNED BY former_owner TO tieout_owner;` comes before these.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tieout;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO tieout;
