"""Every error of the operator, and who retries it.

    OperatorError
    ├── ConfigError                  the operator's own settings are wrong: one message, exit code 2
    ├── LeadershipLostError          another operator may decide by now: nothing more is written, exit code 3
    ├── PassingError                 try again later, with back-off; logged as a warning, without a traceback
    │   ├── ApiUnavailableError      the API server did not answer, or with 429 or 5xx
    │   ├── ConflictError            someone wrote the object first (409): observe again
    │   └── RayUnavailableError      Ray's REST API did not answer, or with 5xx
    ├── ObjectMissingError           404 on one object: it is gone; the caller decides what that means
    ├── KindMissingError             404 on a kind: its CRD is not installed
    ├── RejectedError                the API server refuses what we sent (400, 403, 422): shown to the user, and
    │                                tried again with back-off, since a right or a quota may come
    └── RayRefusedError              Ray's REST API refuses what we sent (4xx): shown to the user, tried again likewise

Client libraries' own exceptions do not leave `cluster.py` and `ray_api.py`. Anything else that reaches the reconcile
boundary is a bug: logged with its traceback and retried with the longest back-off.
"""


class OperatorError(Exception):
    """Base of all errors raised on purpose by this package."""


class ConfigError(OperatorError):
    """A setting of the operator is wrong; the message names the variable and what it may hold."""


class LeadershipLostError(OperatorError):
    """This process may not write any more: it lost its Lease, or could not renew it in time. It ends."""


class PassingError(OperatorError):
    """A fault that heals by itself; the same reconcile is tried again."""


class ApiUnavailableError(PassingError):
    """The API server could not be reached or is overloaded."""


class ConflictError(PassingError):
    """The object changed since it was read, or exists already."""


class RayUnavailableError(PassingError):
    """Ray's REST API could not be reached, is not up yet, or failed."""


class ObjectMissingError(OperatorError):
    """The object is not in the API server."""


class KindMissingError(OperatorError):
    """The API server does not know the kind."""


class RejectedError(OperatorError):
    """The API server understood and refused; the message is its own."""


class RayRefusedError(OperatorError):
    """Ray understood and refused: the same request would be refused again."""
