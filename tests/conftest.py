"""Fixtures of every test folder: the clusters under test live in `cluster_fixtures`. Unsteady tests are named."""

import os

from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["cluster_fixtures"]

ONE_ACCOUNT = "tests/integration/operator/"
"""Its last tests draw up the account of what the others asked the API server for, so one process runs all of them."""

# How long an example takes says how busy the machine is. The quick suite judges a commit by the same examples each
# time; `./hack/test.sh --all` searches for new ones.
settings.register_profile("same-examples", deadline=None, derandomize=True)
settings.register_profile("new-examples", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same-examples"))


class Together(LoadFileScheduling):
    """What runs in one process where `-n 2` runs two: a file, whose tests share fixtures, and that folder."""

    def _split_scope(self, nodeid):
        return ONE_ACCOUNT if nodeid.startswith(ONE_ACCOUNT) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    """xdist's hook: how tests are dealt out."""
    return Together(config, log)


def pytest_terminal_summary(terminalreporter):
    """Names, with the first failure of each, the tests that passed only when they ran again."""
    passed = {report.nodeid for report in terminalreporter.getreports("passed")}
    unsteady = [report for report in terminalreporter.getreports("rerun") if report.nodeid in passed]
    if not unsteady:
        return
    terminalreporter.section("unsteady: failed, and passed when run again")
    for report in unsteady:
        terminalreporter.write_line(f"{report.nodeid} ({report.when})", yellow=True)
        terminalreporter.write_line(report.longreprtext)
