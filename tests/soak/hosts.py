"""Hosts on one machine: network namespaces on a bridge, each with processes and a home of its own.

All are called `worker`, and their first process has the same number: as replicas of one container.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from flows.operation.prefect_server import prefect_client_environment
from storage.home import Home
from tests.acceptance.killing import wait_for

ROOT = Path(__file__).parents[2]
NETWORK = "10.213.77"
HERE = f"{NETWORK}.1"
BRIDGE = "glsoak0"
POSTGRES = Path("/usr/lib/postgresql")


def missing() -> str | None:
    """What this machine lacks to make hosts; None: nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare", "hostname"):
        if shutil.which(program) is None:
            return f"there is no program {program!r} here"
    if not server_programs():
        return f"there is no PostgreSQL with its own tools below {POSTGRES}"
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--uts", "--fork", "--mount-proc", "true"],
        capture_output=True, check=False,
    )  # fmt: skip
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


def server_programs() -> Path | None:
    found = sorted(POSTGRES.glob("*/bin/initdb"))
    return found[-1].parent if found else None


def run(*words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@dataclass
class Servers:
    """PostgreSQL and a Prefect server for hosts, on the bridge; nobody else can reach them."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    password: str = field(default_factory=lambda: secrets.token_hex(16))

    def start(self) -> None:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{HERE}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        self._start_postgres()
        # As compose.yaml has PostgreSQL do it.
        secrets_of = {"POSTGRES_USER": "postgres", "LEDGER_PASSWORD": self.password}
        where = {"PGHOST": HERE, "PGDATABASE": "postgres", "PGPASSWORD": self.password}
        script = ROOT / "docker" / "databases.sh"
        subprocess.run([script], env={**os.environ, **secrets_of, **where}, check=True)
        environment = {
            **os.environ,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.url("prefect").replace(
                "postgresql:", "postgresql+asyncpg:"
            ),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_AUTH_STRING": self.auth,
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
        }
        where_to = ["--host", HERE, "--port", "4200"]
        command = [sys.executable, "-m", "prefect", "server", "start", *where_to]
        self._begin("prefect", command, env=environment, cwd=ROOT)
        wait_for(self._prefect_answers, 120)

    @property
    def api_url(self) -> str:
        return f"http://{HERE}:4200/api"

    @property
    def auth(self) -> str:
        return f"admin:{self.password}"

    def url(self, database: str = "greenline", user: str = "greenline") -> str:
        return f"postgresql://{user}:{self.password}@{HERE}:5432/{database}"

    def sql(self, query: str, *values: object) -> list[tuple]:
        """Ask the ledger; before the first run there is none."""
        with psycopg.connect(self.url()) as connection:
            try:
                return connection.execute(query, values or None).fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of a host's processes."""
        return {
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            # Whatever is started is this installation's: flow runs begin with `python`.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **prefect_client_environment(self.api_url, Home(home)),
            "HOME": str(home.parent),
            "PREFECT_HOME": str(home.parent / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_API_AUTH_STRING": self.auth,
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
            "GREENLINE_HOME": str(home),
            "GREENLINE_DATABASE_URL": self.url(),
            "GREENLINE_LIMITS_FENCE": "off",
            "PYTHONPATH": str(ROOT),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)

    def _start_postgres(self) -> None:
        programs, data = server_programs(), self.folder / "postgres"
        assert programs is not None
        data.mkdir(parents=True)
        shutil.chown(data, "postgres", "postgres")
        self.folder.chmod(0o711)
        secret = data.parent / "secret"
        secret.write_text(self.password)
        secret.chmod(0o644)
        cluster = data / "cluster"
        subprocess.run(
            [programs / "initdb", "-D", cluster, "-U", "postgres", "-A", "scram-sha-256",
             "--pwfile", secret, "--no-sync", "-E", "UTF8", "--locale", "C"],
            user="postgres", group="postgres", cwd="/", capture_output=True, check=True,
        )  # fmt: skip
        with (cluster / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK}.0/24 scram-sha-256\n")
        settings = (
            f"listen_addresses={HERE}", "port=5432", f"unix_socket_directories={data}",
            "fsync=off", "max_connections=200",
        )  # fmt: skip
        options = [word for each in settings for word in ("-c", each)]
        command = [str(programs / "postgres"), "-D", str(cluster), *options]
        self._begin("postgres", command, user="postgres", group="postgres", cwd="/")
        wait_for(self._postgres_answers, 30)

    def _begin(self, name: str, command: list[str], **options: object) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                 start_new_session=True, **options)
            )  # fmt: skip

    def _postgres_answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url("postgres", "postgres"), connect_timeout=2).close()
            return True
        return False

    def _prefect_answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.api_url}/health", timeout=2) as said:
            return bool(said.status == 200)
        return False


@dataclass
class Host:
    """A host with a worker on it."""

    number: int
    servers: Servers
    limit: int = 2
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.space, self.link = f"glsoak{self.number}", f"glsoakv{self.number}"
        self.home = self.servers.folder / f"host{self.number}" / "home"
        self.home.parent.mkdir(parents=True)
        run("ip", "netns", "add", self.space)
        inner = f"{self.link}i"
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", self.space)
        run("ip", "link", "set", self.link, "master", BRIDGE, "up")
        address = f"{NETWORK}.{10 + self.number}/24"
        run("ip", "-n", self.space, "address", "add", address, "dev", inner)
        run("ip", "-n", self.space, "link", "set", inner, "up")
        run("ip", "-n", self.space, "link", "set", "lo", "up")

    @property
    def log(self) -> Path:
        return self.home.parent / "worker.log"

    def start_worker(self) -> None:
        inside = 'hostname worker && exec "$@"'
        command = [
            "ip", "netns", "exec", self.space,
            "unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL",
            "sh", "-c", inside, "sh",
            sys.executable, "-m", "prefect", "worker", "start", "--pool", "greenline",
            "--type", "process", "--name", f"worker-{self.number}", "--limit", str(self.limit),
            "--install-policy", "never",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.servers.environment(self.home), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """Everything on the host ends at once, as when its power fails."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def cut_off(self) -> None:
        run("ip", "link", "set", self.link, "down")

    def connect_again(self) -> None:
        run("ip", "link", "set", self.link, "up")

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def at_work(self) -> list[psutil.Process]:
        """The agents and tests that run on it: processes in its sandboxes."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd().startswith(f"{self.home}/sandboxes/"):
                    found.append(process)
        return found

    def carries(self) -> list[str]:
        """The runs under way whose current sandbox is on it."""
        return [
            row[0]
            for row in self.servers.sql(
                "SELECT s.run_id FROM agent.sandboxes s JOIN runs r ON r.run_id = s.run_id::text "
                "WHERE r.status IN ('pending', 'running') AND s.status = 'running' "
                "AND s.cwd LIKE %s",
                f"{self.home}/%",
            )
        ]

    def remove(self) -> None:
        if self.alive():
            self.kill()
        subprocess.run(["ip", "netns", "del", self.space], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self.link], capture_output=True, check=False)
        until = time.monotonic() + 10
        while self.at_work() and time.monotonic() < until:
            time.sleep(0.1)
