"""A tool's result is told again only where asking the tool would say the same."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.database import Database
from tasks.tool_cache import LARGEST, TTL_S, ToolCache


class Tool:
    """A tool that counts how often it was asked."""

    def __init__(self, result=None):
        self.result = {"n": [1, {"b": None}]} if result is None else result
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def cache(stored):
    return ToolCache(stored.database, stored.project_id, stored.run_id, stored.ws_id)


def events(cache, *wanted):
    with cache.database.get_connection() as connection:
        found = connection.execute(
            "SELECT event_type, run_id, ws_id, payload_json FROM events"
            " WHERE event_type LIKE 'cache_%' ORDER BY id"
        ).fetchall()
    return [row for row in found if not wanted or row["event_type"] in wanted]


def kinds(cache):
    return [row["event_type"].removeprefix("cache_") for row in events(cache)]


def kept(cache):
    with cache.database.get_connection() as connection:
        return connection.execute("SELECT * FROM tool_results ORDER BY id").fetchall()


def age(cache, seconds):
    with cache.database.get_connection() as connection:
        connection.execute(
            "UPDATE tool_results SET created_at = now() - make_interval(secs => %s)", (seconds,)
        )


def test_the_same_call_on_the_same_state_asks_the_tool_once(cache):
    tool = Tool()
    args = {"path": "src", "deep": {"a": 1, "b": [2]}}
    first = cache.call("list_files", "near", args, "tree 1", tool)
    again = cache.call("list_files", "near", {"deep": {"b": [2], "a": 1}, "path": "src"}, "tree 1", tool)  # fmt: skip
    assert first == again == {"n": [1, {"b": None}]}
    assert tool.asked == 1
    assert kinds(cache) == ["miss", "store", "hit"]
    (row,) = kept(cache)
    assert (row["tool_name"], row["action"], row["ttl_seconds"]) == ("list_files", "near", TTL_S)
    assert (row["project_id"], row["fingerprint"]) == (cache.project_id, "tree 1")
    hit = events(cache, "cache_hit")[0]
    assert (hit["run_id"], hit["ws_id"]) == (cache.run_id, cache.ws_id)
    assert hit["payload_json"]["args_hash"] == row["args_hash"]
    assert 0 <= hit["payload_json"]["age_s"] < 60


@pytest.mark.parametrize(
    "other",
    [
        {"tool": "search"},
        {"action": None},
        {"action": "far"},
        {"args": {"path": "src", "deep": {"a": 2}}},
        {"fingerprint": "tree 2"},
    ],
    ids=str,
)
def test_any_other_call_or_state_asks_again(cache, other):
    tool = Tool()
    call = {"tool": "list_files", "action": "near", "args": {"path": "src", "deep": {"a": 1}}, "fingerprint": "tree 1"}  # fmt: skip
    cache.call(**call, compute=tool)
    cache.call(**(call | other), compute=tool)
    assert tool.asked == 2


def test_a_result_of_an_earlier_state_is_replaced_and_never_comes_back(cache):
    results = iter(["one", "two", "three"])
    for state, said in (
        ("tree 1", "one"),
        ("tree 2", "two"),
        ("tree 1", "three"),
        ("tree 1", "three"),
    ):
        assert cache.call("search", None, {}, state, lambda: next(results)) == said
    assert len(kept(cache)) == 1


def test_another_project_has_results_of_its_own(cache, store_run):
    other = store_run("/srv/other")
    theirs = ToolCache(other.database, other.project_id, other.run_id, other.ws_id)
    assert cache.call("search", None, {}, "s", lambda: "ours") == "ours"
    assert theirs.call("search", None, {}, "s", lambda: "theirs") == "theirs"
    assert cache.invalidate() == 1
    assert theirs.call("search", None, {}, "s", lambda: "anew") == "theirs"


def test_a_result_that_is_too_old_is_asked_for_anew_and_removed(cache):
    tool = Tool()
    cache.call("search", "a", {}, "s", tool)
    age(cache, TTL_S - 30)
    cache.call("search", "a", {}, "s", tool)
    assert tool.asked == 1
    age(cache, TTL_S)
    cache.call("search", "b", {}, "s", tool)
    assert [row["action"] for row in kept(cache)] == ["b"], "what ran out goes when one is kept"
    cache.call("search", "a", {}, "s", tool)
    assert tool.asked == 3


def test_a_failure_is_passed_on_and_not_kept(cache):
    tool = Tool(ValueError("no"))
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            cache.call("search", None, {}, "s", tool)
    assert tool.asked == 2
    assert kept(cache) == []
    assert kinds(cache) == ["miss", "miss"]


@pytest.mark.parametrize("result", [None, False, 0, "", [], {}])
def test_a_result_that_says_nothing_is_a_result(cache, result):
    asked = []

    def tool():
        asked.append(1)
        return result

    assert cache.call("search", None, {}, "s", tool) == result
    assert cache.call("search", None, {}, "s", tool) == result
    assert len(asked) == 1


def test_a_tool_that_may_write_is_asked_each_time_and_makes_all_else_stale(cache):
    read, write = Tool(), Tool()
    cache.call("search", None, {}, "s", read)
    for _ in range(2):
        cache.call("write_file", None, {"path": "x"}, "s", write)
    assert write.asked == 2
    cache.call("search", None, {}, "s", read)
    assert read.asked == 2
    assert kinds(cache) == ["miss", "store", "invalidated", "invalidated", "miss", "store"]


def test_a_tool_that_fails_while_it_writes_makes_all_else_stale_too(cache):
    cache.call("search", None, {}, "s", Tool())
    with pytest.raises(ValueError, match="half"):
        cache.call("write_file", None, {}, "s", Tool(ValueError("half")))
    assert kept(cache) == []


def test_hit_and_miss_return_the_same_and_a_copy_each(cache):
    first = cache.call("search", None, {}, "s", lambda: {"a": (1, "x\0y\udcff"), "n": float("nan")})
    first["a"].append("mine")
    assert cache.call("search", None, {}, "s", Tool()) == {"a": [1, "x\ufffdy\\udcff"], "n": None}


def test_a_result_that_is_very_large_is_told_and_not_kept(cache):
    assert len(cache.call("search", None, {}, "s", lambda: "x" * LARGEST)) == LARGEST
    assert kept(cache) == []


def test_who_asks_at_the_same_time_shares_one_answer(cache):
    entered, release = threading.Event(), threading.Event()
    asked = []

    def slow():
        asked.append(1)
        entered.set()
        assert release.wait(30)
        return {"from": "one"}

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(cache.call, "search", None, {}, "s", slow)
        assert entered.wait(30)
        others = [pool.submit(cache.call, "search", None, {}, "s", slow) for _ in range(4)]
        release.set()
        answers = [each.result(30) for each in (first, *others)]
    assert answers == [{"from": "one"}] * 5
    assert len(asked) == 1
    assert len({id(answer) for answer in answers}) == 5
    assert sorted(kinds(cache)) == ["hit"] * 4 + ["miss", "store"]


def test_the_failure_of_one_is_not_the_failure_of_those_who_wait(cache):
    """An interrupt hits who computes; the others ask for themselves."""
    entered, release = threading.Event(), threading.Event()

    def interrupted():
        entered.set()
        assert release.wait(30)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.call, "search", None, {}, "s", interrupted)
        assert entered.wait(30)
        second = pool.submit(cache.call, "search", None, {}, "s", lambda: "mine")
        release.set()
        assert second.result(30) == "mine"
        assert isinstance(first.exception(30), KeyboardInterrupt)


def test_many_writers_and_removers_do_not_get_in_each_others_way(cache):
    """Rows run out while others keep theirs: nobody waits for ever, nobody is told a wrong result."""
    short = ToolCache(cache.database, cache.project_id, cache.run_id, ttl_s=0)

    def work(number):
        for turn in range(15):
            one = short if (turn + number) % 2 else cache
            key = {"k": (turn * 7 + number) % 5}
            assert one.call("search", None, key, f"s{number}", lambda key=key: key) == key
            if turn % 6 == number:
                cache.invalidate()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


def test_another_process_is_told_what_this_one_kept(cache):
    cache.call("search", None, {}, "s", lambda: "kept")
    elsewhere = Database(cache.database.url)
    try:
        assert (
            ToolCache(elsewhere, cache.project_id).call("search", None, {}, "s", Tool()) == "kept"
        )
    finally:
        elsewhere.dispose()
