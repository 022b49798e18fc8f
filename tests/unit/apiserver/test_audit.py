"""The audit log: what it says, and that it does not grow for ever."""

from api_audit import Use, refused, requests, used

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.access.audit import AuditLog, Judged
from devcluster.apiserver.access.authorizer import Decision
from devcluster.apiserver.access.users import User


def judged(verb="get", name="p", *, allowed=True):
    return Judged(User("ann"), Attributes(verb, "apps", "deployments", "scale", "n", name), Decision(allowed, "why"))


def test_the_log_says_who_did_what_and_what_came_of_it(tmp_path):
    log = AuditLog(tmp_path)
    log.write(judged(), 200)
    log.write(judged(name="q"), 404)
    log.write(judged("delete", allowed=False), 403)
    log.write(Judged(User("bob"), Attributes("get", path="/version"), Decision(True)), 200)
    log.close()
    assert [(one.name, one.code, one.allowed) for one in requests(tmp_path)][:3] == [
        ("p", 200, True), ("q", 404, True), ("p", 403, False)]  # fmt: skip
    assert used(tmp_path, "ann") == {Use("ann", "get", "deployments.apps", "scale", "n")}
    assert [str(use) for use in refused(tmp_path, "ann")] == ["delete deployments.apps/scale in n"]
    assert [str(use) for use in used(tmp_path, "bob")] == ["get /version"]


def test_the_log_is_bounded_and_the_latest_lines_stay(tmp_path):
    log = AuditLog(tmp_path, largest_bytes=2000)
    for number in range(100):
        log.write(judged(name=f"n{number}"), 200)
    log.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5000
    names = [one.name for one in requests(tmp_path)]
    assert names == [f"n{number}" for number in range(100 - len(names), 100)]


def test_a_log_goes_on_after_a_restart(tmp_path):
    for name in ("a", "b"):
        log = AuditLog(tmp_path)
        log.write(judged(name=name), 200)
        log.close()
    assert [one.name for one in requests(tmp_path)] == ["a", "b"]
