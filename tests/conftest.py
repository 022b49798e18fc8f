"""Fixtures of every test folder: the clusters under test live in `cluster_fixtures`. Unsteady tests are named."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["cluster_fixtures"]

ONE_ACCOUNT = "tests/integration/operator/"
"""Its last tests draw up the account of what the others asked the API server for, so one process runs all of them."""

# How long an example takes says how busy the machine is. The quick suite judges a commit by the same examples each
# time; `./hack/test.sh --all` searches for new ones.
settings.register_profile("same-examples", deadline=None, derandomize=True)
settings.register_profile("new-examples", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same-examples"))


def pytest_collection_modifyitems(items):
    """What `-n 2 --dist loadgroup` keeps together: the tests of a file, which share fixtures, and of that folder."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(ONE_ACCOUNT if file.startswith(ONE_ACCOUNT) else file))


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
