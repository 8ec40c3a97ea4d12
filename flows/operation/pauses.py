"""What people paused in Prefect's UI stays so when the deployments are put there anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.operation.prefect_api import PrefectApi


def read_deployment(api: PrefectApi, name: str) -> Any:
    """Return a deployment by `<flow>/<deployment>`, None if it is not there."""
    return api.get(f"/deployments/name/{name}")


def triggers_of(api: PrefectApi, deployment_id: str) -> list[Any]:
    """Return the automations that start a deployment at an event."""
    related = api.get(f"/automations/related-to/prefect.deployment.{deployment_id}")
    return [each for each in related or () if events_of(each)]


def events_of(automation: Any) -> str:
    """Return the events that an automation waits for, for people."""
    return ", ".join(automation["trigger"].get("expect") or ())


def paused_by_people(api: PrefectApi, name: str) -> list[tuple[str, str, str]]:
    """Return what of a deployment a person paused: its name, what it is, and which one."""
    row = read_deployment(api, name)
    if row is None:
        return []
    found = [(name, "deployment", "")] if row["paused"] else []
    found += [(name, "schedule", _key(each)) for each in row["schedules"] if not each["active"]]
    found += [
        (name, "trigger", each["name"])
        for each in triggers_of(api, row["id"])
        if not each["enabled"]
    ]
    return found


def _key(schedule: dict[str, Any]) -> str:
    return str(schedule["slug"] or schedule["schedule"])


def pause(api: PrefectApi, name: str, kind: str, key: str) -> None:
    """Pause what :func:`paused_by_people` found, unless it is paused or gone."""
    row = read_deployment(api, name)
    if row is None:
        return
    if kind == "deployment":
        if not row["paused"]:
            api.patch(f"/deployments/{row['id']}", {"paused": True})
    elif kind == "schedule":
        for each in row["schedules"]:
            if _key(each) == key and each["active"]:
                api.patch(f"/deployments/{row['id']}/schedules/{each['id']}", {"active": False})
    else:
        for each in triggers_of(api, row["id"]):
            if each["name"] == key and each["enabled"]:
                api.patch(f"/automations/{each['id']}", {"enabled": False})
