"""The embedded PostgreSQL, with real servers: it comes up anywhere, is private, and survives."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from storage import cluster, launch
from storage.embedded import EmbeddedPostgres
from storage.exceptions import ServiceError
from storage.home import Home
from storage.keeper import stop_keeper, stop_services
from storage.supervision import ended, locked, process_birth

ROOT = Path(__file__).parents[2]
START = (
    "from storage.home import Home\nfrom storage.embedded import EmbeddedPostgres\n"
    "print(EmbeddedPostgres(Home.current()).start(), flush=True)\n"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to other users")


def environment(home):
    return {
        "PATH": os.environ["PATH"],
        # With the packages, for another Python than that of the virtual environment.
        "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("platlib")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home.path.parent),
        "GREENLINE_HOME": str(home.path),
    }


@contextmanager
def stopped_afterwards(home):
    try:
        yield home
    finally:
        if home.services.is_dir():
            stop_services(home)
            stop_keeper(home)


@pytest.fixture
def home(tmp_path):
    with stopped_afterwards(Home(tmp_path / "home")) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One running server for the tests that change nothing about it."""
    with stopped_afterwards(Home(tmp_path_factory.mktemp("shared") / "home")) as made:
        EmbeddedPostgres(made).start()
        yield made


def value(url, question="SELECT 1"):
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchone()[0]


def store(url):
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def start_in_a_process(home, code=START, python=sys.executable, more=(), **options):
    return subprocess.Popen(
        [python, "-c", code],
        env=environment(home) | dict(more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_start_and_stop_can_be_repeated(home):
    server = EmbeddedPostgres(home)
    assert server.url() is None
    assert server.stop() is False
    url = server.start()
    assert server.start() == server.url() == url
    store(url)
    assert server.stop() is True
    assert (server.stop(), server.url()) == (False, None)
    assert value(server.start(), "SELECT answer FROM kept") == 42


def test_the_port_stays_when_it_is_free(home):
    server = EmbeddedPostgres(home)
    url = server.start()
    server.stop()
    assert server.start() == url


def test_a_port_that_was_taken_is_replaced(home):
    server = EmbeddedPostgres(home)
    port = urlsplit(server.start()).port
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        assert urlsplit(server.start()).port != port


@pytest.mark.parametrize(
    "name",
    ["with space/it's $(touch owned) `x`", "ünï/文", "/".join(["d" * 100] * 7)],
    ids=["space", "unicode", "long"],
)
def test_any_path_will_do(tmp_path, name):
    with stopped_afterwards(Home(tmp_path / name)) as home:
        assert value(EmbeddedPostgres(home).start()) == 1


def test_a_path_that_is_too_long_is_refused_clearly(tmp_path):
    with (
        stopped_afterwards(Home(tmp_path / "/".join(["d" * 100] * 10))) as home,
        pytest.raises(ServiceError, match="Set it to a shorter one"),
    ):
        EmbeddedPostgres(home).start()


def test_it_listens_on_the_loopback_interface_only(shared):
    url = EmbeddedPostgres(shared).admin_url()
    assert value(url, "SHOW listen_addresses") == "127.0.0.1"
    assert value(url, "SHOW unix_socket_directories") == ""


def test_a_commit_is_on_disk_before_it_is_answered(shared):
    url = EmbeddedPostgres(shared).admin_url()
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        assert value(url, f"SHOW {setting}") == "on"


def test_the_ledgers_role_is_no_superuser_and_owns_its_database(shared):
    url = EmbeddedPostgres(shared).start()
    assert value(url, "SELECT current_user") == "greenline"
    assert value(url, "SHOW is_superuser") == "off"
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert value(url, owner) == "greenline"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        value(url, "SELECT pg_read_file('/etc/passwd')")


def test_text_sorts_the_same_on_every_system(shared):
    url = EmbeddedPostgres(shared).start()
    assert value(
        url, "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,B,a,ä,A}'::text[]) x"
    ) == ("ABabä")
    assert value(url, "SELECT upper('ä')") == "Ä"


@pytest.mark.parametrize("secret", ["wrong", ""])
@pytest.mark.parametrize("role", ["greenline", "greenline_admin"])
def test_the_right_password_is_needed(shared, role, secret):
    port = urlsplit(EmbeddedPostgres(shared).start()).port
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://{role}:{secret}@127.0.0.1:{port}/greenline")


def test_nothing_is_readable_by_others(shared):
    found = [shared.path, *shared.path.rglob("*")]
    opened = [str(path) for path in found if path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    assert len(found) > 100
    assert opened == []


def test_processes_that_start_it_at_once_share_one(home):
    starters = [start_in_a_process(home) for _ in range(5)]
    answers = {starter.communicate(timeout=120) for starter in starters}
    assert len(answers) == 1, answers
    ((url, error),) = answers
    assert error == ""
    assert value(url.strip()) == 1


def test_kill_9_of_the_server_loses_no_commit(home):
    server = EmbeddedPostgres(home)
    store(server.start())
    running = server.postmaster()
    os.kill(running.pid, signal.SIGKILL)
    assert ended(running.pid, running.birth, within_s=10)
    assert value(server.start(), "SELECT answer FROM kept") == 42


def test_kill_9_while_a_session_is_busy_is_recovered(home):
    """The session outlives its server and holds the memory that the next one needs."""
    server = EmbeddedPostgres(home)
    url = server.start()
    store(url)
    busy = start_in_a_process(
        home,
        f"import psycopg\nc = psycopg.connect({url!r})\nprint('in', flush=True)\n"
        "c.execute('SELECT count(*) FROM generate_series(1, 10000000000) a')",
    )
    assert busy.stdout.readline() == "in\n"
    time.sleep(0.2)
    os.kill(server.postmaster().pid, signal.SIGKILL)
    assert value(server.start(), "SELECT answer FROM kept") == 42
    busy.communicate(timeout=10)


def test_kill_9_of_the_starter_and_its_process_group_leaves_the_server(home):
    starter = start_in_a_process(home, START + "import time; time.sleep(60)", process_group=0)
    url = starter.stdout.readline().strip()
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate(timeout=10)
    assert value(url) == 1
    assert EmbeddedPostgres(home).url() == url


def test_the_server_is_nobodys_child_and_holds_no_file_of_ours(home):
    """Otherwise it would keep locks, pipes and zombies of whoever started it."""
    server = EmbeddedPostgres(home)
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    server.start()
    pid = server.postmaster().pid
    os.close(writing)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b""  # the end: nobody else has it
    os.close(reading)
    assert os.getsid(pid) == os.getpgid(pid) == pid
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_pid_file_whose_process_is_somebody_else_now_does_not_matter(home):
    server = EmbeddedPostgres(home)
    store(server.start())
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text(encoding="utf-8").splitlines()
    server.stop()
    # Another PostgreSQL of the same account, the hardest case, and a process of ours.
    for somebody in (os.getppid(), os.getpid()):
        pid_file.write_text("\n".join([str(somebody), *lines[1:]]) + "\n", encoding="utf-8")
        assert server.url() is None
        assert value(server.start(), "SELECT answer FROM kept") == 42
        server.stop()


def test_a_copied_home_has_a_server_of_its_own(home, tmp_path):
    server = EmbeddedPostgres(home)
    url = server.start()
    store(url)
    with psycopg.connect(server.admin_url(), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    subprocess.run(["cp", "-a", home.path, tmp_path / "copy"], check=True)
    with stopped_afterwards(Home(tmp_path / "copy")) as copy:
        copied = EmbeddedPostgres(copy)
        assert copied.url() is None
        assert copied.start() != url
        assert copied.stop() is True
        assert server.url() == url


def test_two_homes_have_two_servers(shared, home):
    assert EmbeddedPostgres(home).start() != EmbeddedPostgres(shared).start()


def test_half_a_data_folder_is_not_used(home):
    """Killed in the middle of initdb, the next start makes a whole one."""
    server = EmbeddedPostgres(home)
    starter = start_in_a_process(home, process_group=0)
    deadline = time.monotonic() + 30
    while not list(home.path.glob("postgres/data.new-*/base/1/*")):
        assert time.monotonic() < deadline, starter.communicate(timeout=5)
        time.sleep(0.001)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate(timeout=10)
    assert not server.data.exists()
    assert value(server.start()) == 1
    assert list(home.postgres.glob("data.*")) == []


def test_lost_passwords_of_the_ledger_are_made_anew(home):
    server = EmbeddedPostgres(home)
    store(server.start())
    cluster.password_file(home, cluster.LEDGER).unlink()
    assert value(server.start(), "SELECT answer FROM kept") == 42


def test_data_of_another_version_is_refused_clearly(home):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("12\n", encoding="ascii")
    with pytest.raises(ServiceError, match=r"made by PostgreSQL 12.*brings 18"):
        server.start()


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(home):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (server.data / "global" / "pg_control").unlink()
    with pytest.raises(ServiceError, match=r"(?s)ends with:.*pg_control"):
        server.start()


def test_a_failing_initdb_is_quoted_and_leaves_nothing(home):
    home.ensure()
    home.folder(home.postgres)
    server = EmbeddedPostgres(home)
    server.data.write_text("in the way", encoding="utf-8")
    with pytest.raises(ServiceError, match="is a file"):
        server.start()


def test_the_log_stays_bounded(home):
    server = EmbeddedPostgres(home)
    home.folder(home.logs)
    server.log.write_bytes(b"x" * 5_000_000)
    server.start()
    sizes = [path.stat().st_size for path in home.logs.glob("postgres.log*")]
    assert len(sizes) == 2
    assert sum(sizes) < 4_100_000


def test_somebody_who_holds_the_lock_for_ever_is_named(home):
    """A lock in the home, not in a folder shared with other users."""
    with (
        locked(home, "postgres"),
        pytest.raises(ServiceError, match=r"services/postgres\.lock"),
        locked(home, "postgres", timeout_s=0.1),
    ):
        pytest.fail("two hold one lock")


@pytest.fixture
def nobodys_python():
    """A Python that the user `nobody` can run, with this repository and its packages."""
    home = Home(Path("/nonexistent/home"))
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with suppress(PermissionError, FileNotFoundError):
            done = start_in_a_process(
                home,
                "import psycopg, storage.cluster; print(storage.cluster.programs())",
                python,
                user="nobody",
                extra_groups=[],
                cwd="/",
            )
            if done.communicate(timeout=60)[1] == "":
                return python
    pytest.skip("the user nobody can run no Python with this repository")


@needs_root
class TestRoot:
    """PostgreSQL refuses to run as root: it gets another account, and only what that needs."""

    def test_the_data_belongs_to_an_ordinary_account_and_its_parents_stay_closed(self, shared):
        server = EmbeddedPostgres(shared)
        pid = server.postmaster().pid
        assert server.data.stat().st_uid != 0
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
        assert stat.S_IMODE(shared.path.stat().st_mode) == 0o700
        assert shared.path.stat().st_uid == 0
        assert Path(f"/proc/{pid}").stat().st_uid == server.data.stat().st_uid
        held = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        capabilities = {line.split()[1] for line in held.splitlines() if line.startswith("CapEff")}
        one = f"{1 << launch.CAP_DAC_READ_SEARCH:016x}", f"{1 << launch.CAP_DAC_OVERRIDE:016x}"
        assert capabilities < set(one)

    def test_the_owner_of_the_home_is_served_with_no_capability(self):
        nobody = pwd.getpwnam("nobody")
        folder = Path(tempfile.mkdtemp(prefix="greenline-"))
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        with stopped_afterwards(Home(folder)) as home:
            server = EmbeddedPostgres(home)
            server.start()
            status = Path(f"/proc/{server.postmaster().pid}/status").read_text(encoding="ascii")
            owners = {path.lstat().st_uid for path in home.path.rglob("*")}
        shutil.rmtree(folder)
        assert owners == {nobody.pw_uid}
        if Path(sys.executable).resolve().stat().st_mode & 0o001:
            assert "CapEff:\t0000000000000000" in status

    @pytest.mark.parametrize(
        ("bounds", "works"),
        [
            ("-dac_read_search", True),  # as in an ordinary container
            ("-dac_read_search,-dac_override", False),
        ],
    )
    def test_fewer_capabilities_do_or_are_named(self, tmp_path, bounds, works):
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv takes the capabilities away for this test")
        with stopped_afterwards(Home(tmp_path / "home")) as home:
            done = subprocess.run(
                ["setpriv", f"--bounding-set={bounds}", sys.executable, "-c", START],
                env=environment(home),
                capture_output=True,
                text=True,
                check=False,
            )
            if works:
                assert value(done.stdout.strip()) == 1
            else:
                assert "cannot enter" in done.stderr
                assert "Set GREENLINE_HOME to a folder below one that" in done.stderr

    @pytest.mark.parametrize("closed", ["folder", "files"])
    def test_programs_in_a_folder_of_roots_own_are_run(self, home, tmp_path, closed):
        """As in a virtual environment below /root."""
        package = tmp_path / "packages" / cluster.WHEEL
        installed = cluster.programs().parents[1]
        shutil.copytree(installed / "pginstall18", package / "pginstall18", symlinks=True)
        shutil.copytree(f"{installed}.libs", f"{package}.libs")
        (package / "__init__.py").touch()
        package.parent.chmod(0o700)
        if closed == "files":
            subprocess.run(["chmod", "-R", "go-rwx", package.parent], check=True)
        packages = os.pathsep.join([str(package.parent), environment(home)["PYTHONPATH"]])
        starter = start_in_a_process(home, more={"PYTHONPATH": packages})
        url, error = starter.communicate(timeout=60)
        assert error == ""
        assert value(url.strip()) == 1
        program = Path(f"/proc/{EmbeddedPostgres(home).postmaster().pid}/exe").readlink()
        assert program.is_relative_to(package)

    def test_an_ordinary_user_runs_it_as_themselves(self, nobodys_python):
        folder = Path(tempfile.mkdtemp(prefix="greenline-"))
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        with stopped_afterwards(Home(folder / "home")) as home:
            starter = start_in_a_process(
                home, python=nobodys_python, user="nobody", extra_groups=[], cwd="/"
            )
            url, error = starter.communicate(timeout=60)
            assert error == ""
            assert value(url.strip()) == 1
            pid = EmbeddedPostgres(home).postmaster().pid
            assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        shutil.rmtree(folder)

    def test_data_that_root_made_is_refused_to_others_clearly(self, nobodys_python):
        folder = Path(tempfile.mkdtemp(prefix="greenline-"))
        nobody = pwd.getpwnam("nobody")
        with stopped_afterwards(Home(folder / "home")) as home:
            EmbeddedPostgres(home).start()
            os.chown(home.path, nobody.pw_uid, nobody.pw_gid)
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            starter = start_in_a_process(
                home, python=nobodys_python, user="nobody", extra_groups=[], cwd="/"
            )
            _, error = starter.communicate(timeout=60)
            os.chown(home.path, 0, 0)
        shutil.rmtree(folder)
        last = error.strip().splitlines()[-1]
        assert last.startswith(("storage.exceptions.InputError", "storage.exceptions.ServiceError"))
        assert "GREENLINE_HOME" in last


def test_a_detached_start_that_dies_before_it_is_recorded_never_runs(home):
    """Whoever starts a service may be killed at any moment: none runs that nobody knows of."""
    home.folder(home.logs)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom storage.home import Home\n"
        "from storage.supervision import start_detached\n"
        "start_detached(['/usr/bin/env', 'touch', sys.argv[1]], home=Home.current(), "
        "log=Path(sys.argv[2]), env={}, record=lambda pid: (print(pid, flush=True), "
        "os.kill(os.getpid(), 9)))"
    )
    marker = home.path / "ran"
    done = subprocess.run(
        [sys.executable, "-c", code, marker, home.logs / "x.log"],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    birth = process_birth(pid)
    assert birth is None or ended(pid, birth, within_s=5)
    assert not marker.exists()


def test_locks_are_not_inherited_by_programs_that_we_run(home):
    """An agent that outlives its run must not keep the services up."""
    server = EmbeddedPostgres(home)
    server.start()
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        links = [str(path.readlink()) for path in Path(f"/proc/{child.pid}/fd").iterdir()]
        child.kill()
    assert not [link for link in links if str(home.path) in link]
    with (home.services / "in-use").open("rb+") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # while we hold it
