"""Opens the door of a fence from within, then becomes the program proper. Executed, not imported.

`python -I -S opener.py PORT FD PROGRAM…`: makes a socket that listens on PORT of the loopback in
here, hands it out over the socket FD, and executes PROGRAM. If that cannot be, the number of the
error goes out over FD. Standard library only, and little of it: every agent pays for it.
"""

from __future__ import annotations

import _socket
import os
import sys


def main(port: int, descriptor: int, argv: list[str]) -> None:
    """Open the door, and become the program; return only if that cannot be."""
    os.set_inheritable(descriptor, False)
    out = _socket.socket(fileno=descriptor)
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    number = listener.fileno().to_bytes(4, sys.byteorder)
    out.sendmsg([b"0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, number)])
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - becoming the program is its job
    except OSError as error:
        out.send(str(error.errno).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    sys.exit(127)
