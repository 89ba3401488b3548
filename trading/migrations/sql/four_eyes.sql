-- Four eyes, compared by person, whatever path a row takes into the database.
CREATE FUNCTION keep_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = (SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'trading_user') THEN
        RETURN coalesce(NEW, OLD);
    END IF;
    IF tg_op = 'DELETE' THEN
        RAISE EXCEPTION 'people and users are never deleted; deactivate the user instead' USING errcode = '23001';
    END IF;
    IF NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'the number of a person or user is fixed' USING errcode = '23001';
    END IF;
    IF tg_table_name = 'trading_user' THEN
        IF NEW.person_id IS DISTINCT FROM OLD.person_id THEN
            RAISE EXCEPTION 'the person of a user is fixed' USING errcode = '23001';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_person BEFORE UPDATE OR DELETE ON trading_user FOR EACH ROW EXECUTE FUNCTION keep_person();
CREATE TRIGGER keep_person BEFORE UPDATE OR DELETE ON trading_person FOR EACH ROW EXECUTE FUNCTION keep_person();

CREATE FUNCTION guard_proposal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.payload_sha256 <> encode(sha256(convert_to(NEW.payload, 'UTF8')), 'hex') THEN
        RAISE EXCEPTION 'the proposal''s hash is not that of its payload' USING errcode = '23514';
    END IF;
    IF NEW.approvals_required < 1 OR length(trim(NEW.reason)) < 5 THEN
        RAISE EXCEPTION 'a proposal needs a reason and at least one approval' USING errcode = '23514';
    END IF;
    IF NEW.expires_at > clock_timestamp() + interval '24 hours 1 minute' THEN
        RAISE EXCEPTION 'a proposal expires within 24 hours' USING errcode = '23514';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_proposal BEFORE INSERT ON trading_proposal FOR EACH ROW EXECUTE FUNCTION guard_proposal();
ALTER TABLE trading_proposal ENABLE ALWAYS TRIGGER guard_proposal;

CREATE FUNCTION guard_approval() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked trading_proposal;
    proposer bigint;
    approver bigint;
    is_active boolean;
BEGIN
    SELECT * INTO STRICT asked FROM trading_proposal WHERE id = NEW.proposal_id;
    SELECT person_id INTO STRICT proposer FROM trading_user WHERE id = asked.proposer_id;
    SELECT u.person_id, u.is_active INTO STRICT approver, is_active FROM trading_user u WHERE u.id = NEW.approver_id;
    IF NOT is_active THEN
        RAISE EXCEPTION 'four eyes: the approver is deactivated' USING errcode = '23514';
    END IF;
    IF EXISTS (SELECT 1 FROM trading_application a WHERE a.proposal_id = asked.id) THEN
        RAISE EXCEPTION 'four eyes: the proposal was applied already' USING errcode = '23514';
    END IF;
    IF NEW.verdict NOT IN ('APPROVE', 'REJECT', 'WITHDRAW') THEN
        RAISE EXCEPTION 'four eyes: a verdict is APPROVE, REJECT or WITHDRAW' USING errcode = '23514';
    END IF;
    IF NEW.verdict = 'WITHDRAW' AND approver <> proposer THEN
        RAISE EXCEPTION 'four eyes: only the proposer withdraws' USING errcode = '23514';
    END IF;
    IF NEW.verdict = 'APPROVE' THEN
        IF approver = proposer THEN
            RAISE EXCEPTION 'four eyes: whoever proposed cannot approve' USING errcode = '23514';
        END IF;
        IF NEW.payload_sha256 <> asked.payload_sha256 OR NEW.subject_version <> asked.subject_version THEN
            RAISE EXCEPTION 'four eyes: the approval is for another payload or version' USING errcode = '23514';
        END IF;
        IF clock_timestamp() >= asked.expires_at THEN
            RAISE EXCEPTION 'four eyes: the proposal has expired' USING errcode = '23514';
        END IF;
        IF EXISTS (SELECT 1 FROM trading_approval a WHERE a.proposal_id = asked.id AND a.verdict <> 'APPROVE') THEN
            RAISE EXCEPTION 'four eyes: the proposal was rejected or withdrawn' USING errcode = '23514';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_approval BEFORE INSERT ON trading_approval FOR EACH ROW EXECUTE FUNCTION guard_approval();
ALTER TABLE trading_approval ENABLE ALWAYS TRIGGER guard_approval;

CREATE FUNCTION guard_application() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked trading_proposal;
    given int;
BEGIN
    SELECT * INTO STRICT asked FROM trading_proposal WHERE id = NEW.proposal_id;
    IF EXISTS (SELECT 1 FROM trading_approval a WHERE a.proposal_id = asked.id AND a.verdict <> 'APPROVE') THEN
        RAISE EXCEPTION 'four eyes: the proposal was rejected or withdrawn' USING errcode = '23514';
    END IF;
    IF clock_timestamp() >= asked.expires_at THEN
        RAISE EXCEPTION 'four eyes: the proposal has expired' USING errcode = '23514';
    END IF;
    SELECT count(DISTINCT u.person_id) INTO given
    FROM trading_approval a
    JOIN trading_user u ON u.id = a.approver_id
    JOIN trading_user p ON p.id = asked.proposer_id
    WHERE a.proposal_id = asked.id AND a.verdict = 'APPROVE' AND a.payload_sha256 = asked.payload_sha256
      AND a.subject_version = asked.subject_version AND u.person_id <> p.person_id;
    IF given < asked.approvals_required THEN
        RAISE EXCEPTION 'four eyes: % of % approvals', given, asked.approvals_required USING errcode = '23514';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_application BEFORE INSERT ON trading_application FOR EACH ROW EXECUTE FUNCTION guard_application();
ALTER TABLE trading_application ENABLE ALWAYS TRIGGER guard_application;
