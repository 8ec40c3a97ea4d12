"""The errors that Greenline raises on purpose, each with the exit code it ends a command with."""

from __future__ import annotations


class GreenlineError(Exception):
    """Something that Greenline was asked for could not be done.

    Attributes:
        exit_code: what a command that ends with this error exits with
            (1: the work failed, 2: bad input, 3: waits for a person, 4: a service is missing).
    """

    exit_code = 1


class InputError(GreenlineError):
    """What was given is wrong; nothing was written."""

    exit_code = 2


class ServiceError(GreenlineError):
    """A service that is needed (PostgreSQL, the Prefect server) is missing or does not answer."""

    exit_code = 4
