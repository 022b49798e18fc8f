"""Fixtures of every test folder: the clusters under test live in `cluster_fixtures`. Unsteady tests are named."""

import os

from hypothesis import settings

pytest_plugins = ["cluster_fixtures"]

# How long an example takes says how busy the machine is. The quick suite judges a commit by the same examples each
# time; `./hack/test.sh --all` searches for new ones.
settings.register_profile("same-examples", deadline=None, derandomize=True)
settings.register_profile("new-examples", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same-examples"))


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
