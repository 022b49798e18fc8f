"""The operator's settings and command line."""

import pytest

from tidemill_operator.__main__ import main
from tidemill_operator.config import Settings
from tidemill_operator.errors import ConfigError


def test_nothing_set_means_the_defaults():
    assert Settings.from_environment({"PATH": "/bin", "TIDEMILL_IMAGE_CPU": ""}) == Settings()


def test_lists_and_switches_are_read():
    read = Settings.from_environment(
        {"TIDEMILL_ALLOWED_SERVICE_ACCOUNTS": "a, b c", "TIDEMILL_ALLOW_HOST_PATH": "true"}
    )
    assert read.allowed_service_accounts == ("a", "b", "c")
    assert read.allow_host_path


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TIDEMILL_POLL_SECONDS": "soon"}, "TIDEMILL_POLL_SECONDS='soon'"),
        ({"TIDEMILL_CONCURRENCY": "0"}, "TIDEMILL_CONCURRENCY='0'"),
        ({"TIDEMILL_RAY_VERSION": "latest"}, "TIDEMILL_RAY_VERSION='latest'"),
        ({"TIDEMILL_BACKOFF_MIN_SECONDS": "900"}, "must not be above TIDEMILL_BACKOFF_MAX_SECONDS"),
    ],
)
def test_a_wrong_setting_is_named(variables, said):
    with pytest.raises(ConfigError, match=said):
        Settings.from_environment(variables)


def test_every_setting_is_documented():
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_a_wrong_setting_ends_the_command_with_one_message(monkeypatch, capsys):
    monkeypatch.setenv("TIDEMILL_POLL_SECONDS", "soon")
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_kubeconfig_ends_the_command_with_one_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--kubeconfig", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert "there is no kubeconfig at" in capsys.readouterr().err
