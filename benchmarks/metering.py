"""What the metering proxy adds to a model request, beside the same request without it.

    python benchmarks/metering.py [--requests 200] [--json]

A scripted model on the loopback answers at once, so that nothing but the way there and back is
measured: whole and streamed, in the three dialects, recorded in a ledger as in a run. Direct and
metered requests take turns in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from storage.database import Database
from storage.embedded import EmbeddedPostgres
from storage.home import Home
from tasks.metering.endpoint import Endpoint
from tasks.metering.meter import Meter
from tasks.metering.prices import Prices
from tasks.metering.proxy import proxy
from tasks.metering.recorder import Recorder
from tests.model_server.replies import Served, say
from tests.model_server.server import ModelServer

AIM_MS: Final = 5.0
PATHS: Final = ("/chat/completions", "/responses", "/messages")
KEY: Final = "benchmark-key"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="of each kind (200)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="greenline-bench-"))
    server = EmbeddedPostgres(Home(scratch / "home").ensure())
    try:
        found = measure(server.start(), max(given.requests, 10))
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps(found, indent=2) if given.json else report(found))


def measure(url: str, requests: int) -> list[dict[str, Any]]:
    """Return the medians of each kind of request, in milliseconds."""
    os.environ["BENCHMARK_MODEL_KEY"] = KEY
    database = Database(url)
    database.init_db()
    found = []
    answer = say("Some words of an answer. " * 20, usage=Served(900, 120))
    with ModelServer(lambda _asked: answer, api_key=KEY) as server, httpx.Client() as client:
        direct = f"{server.url}/v1"
        headers = {"authorization": f"Bearer {KEY}", "x-api-key": KEY}
        for path in PATHS:
            for streamed in (False, True):
                recorder = Recorder(database, _phase(database))
                endpoint = Endpoint(direct, "BENCHMARK_MODEL_KEY")
                meter = Meter(endpoint, prices=Prices(), record=recorder)
                body = _asking(path, streamed)
                times: dict[str, list[float]] = {"direct": [], "metered": []}
                with proxy().metered(meter) as metered:
                    for turn in range(requests + 3):
                        for name, base in (("direct", direct), ("metered", metered)):
                            began = time.perf_counter()
                            client.post(base + path, json=body, headers=headers).raise_for_status()
                            if turn >= 3:  # what is loaded on first use is not counted
                                times[name].append((time.perf_counter() - began) * 1000)
                medians = {name: statistics.median(taken) for name, taken in times.items()}
                found.append(
                    {
                        "path": path,
                        "streamed": streamed,
                        **{f"{name}_ms": round(value, 3) for name, value in medians.items()},
                        "added_ms": round(medians["metered"] - medians["direct"], 3),
                        "ratio": round(medians["metered"] / medians["direct"], 2),
                    }
                )
    database.dispose()
    return found


def report(found: list[dict[str, Any]]) -> str:
    """The table that people read."""
    lines = [f"{'':30}{'direct ms':>11}{'metered ms':>12}{'ratio':>8}{'added ms':>10}"]
    for one in found:
        title = f"{one['path']} {'streamed' if one['streamed'] else 'whole'}"
        lines.append(
            f"{title:30}{one['direct_ms']:11.2f}{one['metered_ms']:12.2f}"
            f"{one['ratio']:8.2f}{one['added_ms']:10.2f}"
        )
    most = max(one["added_ms"] for one in found)
    verdict = "met" if most <= AIM_MS else "missed"
    return "\n".join([*lines, "", f"aim {verdict}: {most:.2f} ms added, at most {AIM_MS:g}"])


def _asking(path: str, streamed: bool) -> dict[str, Any]:
    said = [{"role": "user", "content": "word " * 2_000}]
    body: dict[str, Any] = {"model": "gpt-4o", "stream": streamed}
    return body | ({"input": said} if path == "/responses" else {"messages": said})


def _phase(database: Database) -> str:
    """Make a run with a phase, for the requests to belong to; return the phase's id."""
    with database.transaction() as ledger:
        project = ledger.get_or_create_project("/srv/benchmark", "benchmark", "main")
        feature = ledger.create_feature(project["id"], "f")
        run_id = ledger.create_run(feature_id=feature)
        ledger.create_feature_run(run_id, prompt="f")
        return ledger.start_phase(run_id, "implementation")


if __name__ == "__main__":
    main()
