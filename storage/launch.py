"""Run as a program of its own, by path: turns itself into the server that it is asked for.

It stands between Greenline and a server so that the server

- belongs to nobody's session or process group and becomes no zombie of whoever started it
  (`--detach`);
- starts with default signal dispositions, even below `nohup`, and writes private files;
- runs as an unprivileged account when Greenline runs as root (`--uid`, `--gid`), with one Linux
  capability to pass through folders that only root can enter where it takes that (`--cap`).

`python -I -S launch.py [--report FD] [--go FD] [--detach] [--uid N --gid N] [--cap N]
-- PROGRAM ARG…`

With `--go` the program runs only once a byte arrives there, and not at all when whoever started
it dies before: so it can be recorded before it does anything, and none runs unrecorded.

Only the standard library and nothing of ours is imported: it takes 20 ms.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2

_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CANNOT_RUN = 126


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become(uid: int, gid: int, capability: int | None) -> None:
    """Change for good to the account, keeping at most one capability over the coming exec.

    Raises:
        OSError: the system does not let us.
    """
    if capability is None:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # PostgreSQL asks access(2) for its own programs, which knows of capabilities only with this
    # bit set (capabilities(7)). It takes CAP_SETPCAP; without, programs in closed folders fail.
    if libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0:
        _checked(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl(PR_SET_KEEPCAPS)")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    data = (_CapabilityData * 2)(_CapabilityData(bit, bit, bit), _CapabilityData(0, 0, 0))
    _checked(libc.capset(ctypes.byref(header), data), "capset")
    raised = libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)
    _checked(raised, "prctl(PR_CAP_AMBIENT)")


def _checked(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def _default_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(arguments: list[str]) -> int:
    """Start the program; return only when that fails (or, detached, in the parent)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", type=int, help="file descriptor to write pid and errors to")
    parser.add_argument("--go", type=int, help="file descriptor to read leave to run from")
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--cap", type=int)
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args(arguments)
    report = 2 if asked.report is None else asked.report
    os.chdir("/")
    os.umask(0o077)
    if report > 2:
        # Closed by a successful exec: whoever reads it sees the end, and nothing means success.
        os.set_inheritable(report, False)
    if asked.detach:
        pid = os.fork()
        if pid:
            os.write(report, f"{pid}\n".encode())
            return 0
        os.setsid()
    if asked.go is not None:
        if os.read(asked.go, 1) != b"g":
            return _CANNOT_RUN
        os.close(asked.go)
    _default_signals()
    try:
        if asked.uid is not None:
            become(asked.uid, asked.gid, asked.cap)
        os.execv(asked.program[0], asked.program)  # noqa: S606 - no shell is what we want
    except OSError as error:
        os.write(report, f"{asked.program[0]}: {error.strerror}\n".encode())
    return _CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
