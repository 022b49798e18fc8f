"""Fixtures of every test folder: the clusters under test live in `cluster_fixtures`."""

pytest_plugins = ["cluster_fixtures"]
