"""The operator as a process on a real API server, as in its own tests; here it is given what nobody should give."""

from integration.operator.conftest import account, operator_log, world

__all__ = ["account", "operator_log", "world"]
