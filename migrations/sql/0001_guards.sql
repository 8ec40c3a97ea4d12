-- What holds for raw SQL too: states move as legal_transitions says, stages come in their order,
-- events are never changed.

-- Arguments of its triggers: the entity, its column of states, its key.
CREATE FUNCTION guard_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state_before text := to_jsonb(OLD) ->> TG_ARGV[1];
    state_after text := to_jsonb(NEW) ->> TG_ARGV[1];
    legal text;
BEGIN
    IF EXISTS (
        SELECT 1 FROM public.legal_transitions t
        WHERE t.entity = TG_ARGV[0] AND t.from_state = state_before AND t.to_state = state_after
    ) THEN
        RETURN NEW;
    END IF;
    SELECT string_agg(t.to_state, ', ' ORDER BY t.to_state) INTO legal
    FROM public.legal_transitions t
    WHERE t.entity = TG_ARGV[0] AND t.from_state = state_before;
    RAISE EXCEPTION 'illegal transition of % %: % -> %',
        TG_ARGV[0], to_jsonb(OLD) ->> TG_ARGV[2], state_before, state_after
        USING ERRCODE = 'check_violation',
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = TG_ARGV[1],
            HINT = CASE WHEN legal IS NULL THEN format('%s is final', state_before)
                ELSE format('legal from %s: %s', state_before, legal) END;
END
$$;

CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON runs FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('run', 'status', 'run_id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON workstreams FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('workstream', 'status', 'ws_id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON features FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('feature', 'status', 'id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON tasks FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('task', 'status', 'id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON subtasks FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('subtask', 'status', 'id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON steps FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('step', 'status', 'id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON step_attempts FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('attempt', 'status', 'id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF current_phase ON agent.feature_runs FOR EACH ROW
    WHEN (OLD.current_phase IS DISTINCT FROM NEW.current_phase)
    EXECUTE FUNCTION guard_transition('feature_phase', 'current_phase', 'run_id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON agent.phase_results FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('phase', 'status', 'id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON agent.sandboxes FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('sandbox', 'status', 'id');
CREATE TRIGGER guard_transition BEFORE UPDATE OF status ON agent.sandbox_snapshots FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION guard_transition('snapshot', 'status', 'id');

-- A stage is a row, not a value that changes. The rows of a workstream follow the table; a feature
-- or task as a whole (no ws_id) may leave out stages that its workstreams record, and never goes
-- back. The owner's lock makes two who enter at once come one by one.
CREATE FUNCTION guard_work_stage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stage_before text;
    legal text;
BEGIN
    IF NEW.ws_id IS NOT NULL THEN
        PERFORM 1 FROM public.workstreams WHERE ws_id = NEW.ws_id FOR NO KEY UPDATE;
        SELECT w.work_stage::text INTO stage_before FROM public.work_stages w
        WHERE w.ws_id = NEW.ws_id ORDER BY w.id DESC LIMIT 1;
    ELSIF NEW.feature_id IS NOT NULL THEN
        PERFORM 1 FROM public.features WHERE id = NEW.feature_id FOR NO KEY UPDATE;
        SELECT w.work_stage::text INTO stage_before FROM public.work_stages w
        WHERE w.feature_id = NEW.feature_id AND w.ws_id IS NULL ORDER BY w.id DESC LIMIT 1;
    ELSE
        PERFORM 1 FROM public.tasks WHERE id = NEW.task_id FOR NO KEY UPDATE;
        SELECT w.work_stage::text INTO stage_before FROM public.work_stages w
        WHERE w.task_id = NEW.task_id AND w.ws_id IS NULL ORDER BY w.id DESC LIMIT 1;
    END IF;
    stage_before := coalesce(stage_before, '');
    IF NEW.ws_id IS NULL AND (stage_before = '' OR NEW.work_stage > stage_before::public.work_stage)
    THEN
        RETURN NEW;
    END IF;
    IF NEW.ws_id IS NOT NULL AND EXISTS (
        SELECT 1 FROM public.legal_transitions t
        WHERE t.entity = 'work_stage' AND t.from_state = stage_before
            AND t.to_state = NEW.work_stage::text
    ) THEN
        RETURN NEW;
    END IF;
    IF NEW.ws_id IS NULL THEN
        legal := 'any later stage';
    ELSE
        SELECT string_agg(t.to_state, ', ' ORDER BY t.to_state) INTO legal
        FROM public.legal_transitions t
        WHERE t.entity = 'work_stage' AND t.from_state = stage_before;
    END IF;
    RAISE EXCEPTION 'illegal transition of work_stage of %: % -> %',
        coalesce('workstream ' || NEW.ws_id, 'feature ' || NEW.feature_id, 'task ' || NEW.task_id),
        coalesce(nullif(stage_before, ''), 'the beginning'), NEW.work_stage
        USING ERRCODE = 'check_violation',
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'work_stage',
            HINT = CASE WHEN legal IS NULL THEN format('%s is final', stage_before)
                ELSE format('legal: %s', legal) END;
END
$$;

CREATE TRIGGER guard_work_stage BEFORE INSERT ON work_stages FOR EACH ROW
    EXECUTE FUNCTION guard_work_stage();

-- A row says when it was entered and left, never what it was: the order above could be bent.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
            HINT = TG_ARGV[1];
END
$$;

CREATE TRIGGER refuse_change BEFORE UPDATE ON work_stages FOR EACH ROW
    WHEN (OLD.work_stage IS DISTINCT FROM NEW.work_stage)
    EXECUTE FUNCTION refuse_change('the stage of a row is fixed', 'insert a row for the new stage');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON events FOR EACH ROW
    EXECUTE FUNCTION refuse_change('events are append only', 'insert an event that corrects it');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON events
    EXECUTE FUNCTION refuse_change('events are append only', 'insert an event that corrects it');
