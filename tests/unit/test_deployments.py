"""prefect.yaml is one with the code; the worker's environment; the schedules' time zone."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from flows.operation.deployments import (
    WORK_POOL,
    definitions,
    prefect_file,
    time_zone,
    wanted_version,
)
from flows.operation.prefect_api import PrefectApi
from flows.operation.worker import Worker
from storage.exceptions import InputError
from storage.home import Home


def test_deployments_are_named_as_the_code_looks_them_up():
    """Entrypoints are flows whose names are their deployments'; all are for the one work pool."""
    for name, each in definitions().items():
        module, _, attribute = each["entrypoint"].rpartition(".")
        flow = getattr(importlib.import_module(module), attribute)
        assert f"{flow.name}/{each['name']}" == name
        assert each["work_pool"]["name"] == WORK_POOL
        assert all(schedule["slug"] for schedule in each.get("schedules", ()))


def test_the_triggers_parameters_are_those_that_the_flow_has_no_default_for():
    from flows.on_push import on_push

    (trigger,) = definitions()["on-push/on-push"]["triggers"]
    assert set(trigger["parameters"]) == set(on_push.parameters.required or ()) | {"pusher"}


@pytest.mark.parametrize("zone", ["Berlin", "../../etc/passwd", "+01:00"])
def test_a_time_zone_that_is_none_is_refused(monkeypatch, zone):
    monkeypatch.setenv("GREENLINE_TIMEZONE", zone)
    with pytest.raises(InputError, match="is no time zone"):
        time_zone()


def test_the_time_zone_is_the_one_asked_for_else_the_machines(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert time_zone() == "Asia/Tokyo"
    monkeypatch.setenv("GREENLINE_TIMEZONE", "Europe/Berlin")
    assert time_zone() == "Europe/Berlin"
    monkeypatch.delenv("GREENLINE_TIMEZONE")
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    assert time_zone() in {"UTC", "Etc/UTC"} or "/" in time_zone()


def test_a_version_changes_with_the_zone_and_not_by_itself():
    assert wanted_version("UTC") == wanted_version("UTC") != wanted_version("Europe/Berlin")


def test_the_wheel_brings_the_file_that_the_repository_has():
    """`up` works wherever Greenline is installed."""
    root = Path(__file__).parents[2]
    assert prefect_file() == root / "prefect.yaml"
    assert '"prefect.yaml" = "flows/prefect.yaml"' in (root / "pyproject.toml").read_text()


def test_a_worker_gets_what_runs_need_and_nothing_else(monkeypatch, tmp_path):
    """Of the caller's environment; more is named in GREENLINE_WORKER_ENV."""
    home = Home(tmp_path / "home")
    given = {
        "GREENLINE_LIMITS_ATTEMPTS": "5",
        "OPENAI_API_KEY": "sk-1",
        "AWS_SECRET_ACCESS_KEY": "no",
        "MY_MODEL_KEY": "yes",
        "GREENLINE_WORKER_ENV": "MY_MODEL_KEY, OTHER",
        "GIT_AUTHOR_NAME": "A Person",
        "GIT_DIR": "/somewhere/.git",
        "PREFECT__FLOW_RUN_ID": "1",
        "LC_ALL": "C.UTF-8",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    api = PrefectApi("http://127.0.0.1:1/api", local=True)
    environment = Worker(home)._environment(api)
    left = {name for name in given if name not in environment}
    assert left == {"AWS_SECRET_ACCESS_KEY", "GIT_DIR", "PREFECT__FLOW_RUN_ID"}
    assert environment["GREENLINE_HOME"] == str(home.path)
    assert environment["PREFECT_API_URL"] == api.url
    first = Path(environment["PATH"].split(os.pathsep)[0])
    assert os.access(first / "python", os.X_OK)
