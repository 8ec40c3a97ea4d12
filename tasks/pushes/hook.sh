#!/bin/sh
# greenline-hook: tells Greenline of what is pushed; `greenline hooks uninstall` takes it away.
# The hook that was here before lies beside it and is run first. Nothing here delays git or fails.
kind=@KIND@
kept="$0.before-greenline"
status=0
given=

case $kind in
post-commit)
    if [ -x "$kept" ]; then
        "$kept" "$@"
        status=$?
    fi
    # No branch: a rebase is under way, or nobody would find the commit again.
    ref=$(git symbolic-ref --quiet HEAD) || exit "$status"
    after=$(git rev-parse --quiet --verify HEAD) || exit "$status"
    # Where the branch was, not the commit's parent: of an amended commit only the change counts.
    before=$(git rev-parse --quiet --verify "$ref@{1}" 2>/dev/null) || before=
    if [ -z "$before" ] || [ "$before" = "$after" ]; then
        before=$(git rev-parse --quiet --verify 'HEAD^') || before=
    fi
    given="$before $after $ref"
    ;;
*)
    given=$(cat)
    if [ -x "$kept" ]; then
        { [ -z "$given" ] || printf '%s\n' "$given"; } 2>/dev/null | "$kept" "$@"
        status=$?
    fi
    [ "$kind" = post-receive ] || [ "$status" -eq 0 ] || exit "$status"
    ;;
esac

[ -n "$given" ] || exit "$status"
who=${GL_USERNAME:-${GL_USER:-${REMOTE_USER:-${LOGNAME:-${USER:-}}}}}

# In a session of its own, with nothing of git's open: git does not wait for it.
(
    exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    trap '' HUP
    umask 077
    python=@PYTHON@
    home=@HOME_FOLDER@
    api=@API@
    [ -x "$python" ] || exit 0
    new=$(mktemp "$home/pushes/waiting/.new-XXXXXXXXXX") || exit 0
    if printf '%s\000%s\000%s\000%s\000%s\n' \
        "$kind" "$(pwd -P)" "$who" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$given" >"$new"
    then mv -f "$new" "$home/pushes/waiting/$(date +%s)-${new##*-}.push" || exit 0
    else rm -f "$new"; exit 0
    fi
    set -- env -i PATH="$PATH" HOME="${HOME:-/}" LANG=C.UTF-8 GREENLINE_HOME="$home" \
        PYTHONPATH=@CODE@ PREFECT_API_URL="$api" \
        PREFECT_API_KEY="${PREFECT_API_KEY:-}" \
        PREFECT_API_AUTH_STRING="${PREFECT_API_AUTH_STRING:-}" \
        "$python" -P -m tasks.pushes.emit --home "$home"
    if command -v setsid; then exec setsid "$@"; fi
    exec "$@"
) </dev/null >/dev/null 2>&1 &
exit "$status"
