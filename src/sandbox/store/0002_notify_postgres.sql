-- PostgreSQL only: nodes keep in memory what the request path needs, and hear from here what another node changed.
-- In triggers, so that no writer can forget it, and so that the news arrives when the change is committed, not before.
CREATE FUNCTION connect_bench_changed() RETURNS trigger AS $$
DECLARE
    changed RECORD;
    guid TEXT;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    IF TG_TABLE_NAME = 'content' THEN guid := changed.guid; ELSE guid := changed.content_guid; END IF;
    PERFORM pg_notify('connect_bench_changed', guid);
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER content_changed AFTER UPDATE OR DELETE ON content
    FOR EACH ROW EXECUTE FUNCTION connect_bench_changed();
CREATE TRIGGER bundles_changed AFTER UPDATE OR DELETE ON bundles
    FOR EACH ROW EXECUTE FUNCTION connect_bench_changed();
CREATE TRIGGER permissions_changed AFTER INSERT OR UPDATE OR DELETE ON permissions
    FOR EACH ROW EXECUTE FUNCTION connect_bench_changed();
CREATE TRIGGER vanities_changed AFTER INSERT OR UPDATE OR DELETE ON vanities
    FOR EACH ROW EXECUTE FUNCTION connect_bench_changed();
