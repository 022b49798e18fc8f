"""A job's life on a cluster: answered, refused, waiting and healed, killed at every step, deleted."""

import base64
import json
import os
import re
import signal
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tidemill_api.job_contract import METRIC_ROWS_PER_SECOND, METRICS_PORT

pytestmark = pytest.mark.cluster


def processes_with(text):
    """Pids whose command line or environment holds `text`: driver and raylets of one job, told by its output folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # gone meanwhile
    return [pid for pid in found if pid != os.getpid()]


def test_every_row_is_answered_in_input_order_and_nothing_is_left_running(jobs):
    ids = jobs.write_rows(120)
    jobs.apply(jobs.manifest())
    succeeded = jobs.wait_finished()
    assert (succeeded["status"], succeeded["reason"]) == ("True", "AllRowsAnswered"), succeeded
    assert jobs.answered_ids() == ids
    status = jobs.get()["status"]
    assert status["rows"] == {"total": 120, "completed": 120, "failed": 0, "remaining": 0}
    assert status["tokens"] == {"prompt": 360, "completion": 240}
    manifest = json.loads((jobs.output / "manifest.json").read_text())
    assert manifest["attempt"] == status["driver"]["attempt"] == 1
    jobs.wait_until(lambda: not jobs.children(), what="an empty namespace")


@pytest.mark.all
def test_a_job_from_one_volume_claim_to_another_leaves_its_files_there(jobs):
    """As a user works without an object store; pods of the test's own put the rows in and read the answers."""
    ids = jobs.write_rows(60)
    jobs.kubectl("create", "configmap", "rows", "-n", jobs.namespace, f"--from-file={jobs.folder}/input/rows.jsonl")
    for claim in ("questions", "answers"):
        jobs.kubectl("apply", "-f", "-", given=volume_claim(jobs.namespace, claim))
    run_pod(jobs, "fill", "questions", "cp /given/rows.jsonl /claim/rows.jsonl")
    manifest = jobs.manifest()
    sources = {
        "input": {"persistentVolumeClaim": {"claimName": "questions", "readOnly": True}},
        "output": {"persistentVolumeClaim": {"claimName": "answers"}},
    }
    volumes = manifest["spec"]["template"]["volumes"]
    volumes[:] = [{"name": one["name"], **sources[one["name"]]} if one["name"] in sources else one for one in volumes]
    jobs.apply(manifest)
    assert jobs.wait_finished()["reason"] == "AllRowsAnswered"
    jobs.kubectl("delete", "bij", "rows", "-n", jobs.namespace)
    results = run_pod(jobs, "read", "answers", "cat /claim/results.jsonl").splitlines()
    assert [json.loads(line)["custom_id"] for line in results] == ids
    assert json.loads(run_pod(jobs, "check", "answers", "cat /claim/manifest.json"))["rows"]["completed"] == len(ids)
    assert list(jobs.output.iterdir()) == [], "the folder that the claim took the place of"


def volume_claim(namespace, name):
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def run_pod(jobs, name, claim, command):
    """What a shell command prints in a pod with the claim at /claim and the ConfigMap `rows` at /given."""
    mounts = {"claim": {"persistentVolumeClaim": {"claimName": claim}}, "given": {"configMap": {"name": "rows"}}}
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sh", "-c", command],
        "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in mounts],
    }
    volumes = [{"name": volume, **source} for volume, source in mounts.items()]
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    metadata = {"name": name, "namespace": jobs.namespace}
    jobs.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    words = ("--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "-n", jobs.namespace, "--timeout=60s")
    jobs.kubectl("wait", *words, timeout=70)
    return jobs.kubectl("logs", name, "-n", jobs.namespace)


@pytest.mark.all
def test_failed_rows_cost_only_themselves(jobs):
    jobs.write_rows(20)
    with (jobs.folder / "input" / "rows.jsonl").open("a") as rows:
        for custom_id in ("bad-1", "bug-1"):
            row = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}]}
            line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": row}
            rows.write(json.dumps(line) + "\n")
    jobs.apply(jobs.manifest())
    succeeded = jobs.wait_finished()
    assert (succeeded["status"], succeeded["reason"]) == ("True", "SomeRowsFailed")
    assert "2" in succeeded["message"]
    errors = [json.loads(line) for line in (jobs.output / "errors.jsonl").read_text().splitlines()]
    assert [error["custom_id"] for error in errors] == ["bad-1", "bug-1"]
    assert len(jobs.answered_ids()) == 22


@pytest.mark.all
def test_bad_lines_are_listed_and_no_worker_ever_starts(jobs):
    jobs.write_rows(3)
    with (jobs.folder / "input" / "rows.jsonl").open("a") as rows:
        rows.write("not json\n\n" + json.dumps({"custom_id": "row-1", "method": "POST"}) + "\n")
    jobs.apply(jobs.manifest())
    succeeded = jobs.wait_finished()
    assert (succeeded["status"], succeeded["reason"]) == ("False", "ValidationFailed")
    bad = [json.loads(line) for line in (jobs.output / "validation.jsonl").read_text().splitlines()]
    codes = [(line["line"], line["code"]) for line in bad]
    assert codes == [(4, "invalid_json_line"), (6, "missing_required_parameter")]
    assert not (jobs.output / "results.jsonl").exists()
    assert not [text for text in said(jobs) if "Traceback" in text]
    events = jobs.kubectl.json("get", "events", "-n", jobs.namespace)["items"]
    assert not [event for event in events if event["reason"] == "CreatedWorkerPod"]


def mend_input(jobs):
    jobs.write_rows(5)


def mend_output(jobs):
    (jobs.output / "taken").unlink()


def mend_model(jobs):
    (jobs.folder / "input" / "model").symlink_to("/models/smollm2")  # a folder of the pod


MISSING_MODEL = {"model": {"name": "smollm2", "source": "/data/input/model"}}


@pytest.mark.parametrize(
    ("reason", "field", "spec", "mend"),
    [
        ("InputNotFound", "spec.input.uri", {}, mend_input),
        pytest.param(
            "OutputNotWritable",
            "spec.output.uri",
            {"output": {"uri": "/data/output/taken/"}},
            mend_output,
            marks=pytest.mark.all,
        ),
        pytest.param("ModelNotFound", "spec.model.source", MISSING_MODEL, mend_model, marks=pytest.mark.all),
    ],
)
def test_what_is_missing_is_waited_for_without_a_worker_and_heals(jobs, reason, field, spec, mend):
    if mend is not mend_input:
        jobs.write_rows(5)
    manifest = jobs.manifest(**spec)
    (jobs.output / "taken").write_text("a file where a folder should be")
    jobs.apply(manifest)
    condition = jobs.wait_until(
        lambda: (c := jobs.condition("Progressing")).get("reason") == reason and c, what=f"the reason {reason}"
    )
    assert condition["status"] == "False"
    assert condition["message"].startswith(field)
    assert jobs.condition("Finished")["status"] == "False"

    no_attempt_before_its_time(jobs)
    assert not worker_pods(jobs)
    for text in (*said(jobs), *driver_logs(jobs)):
        assert "Traceback" not in text

    mend(jobs)
    assert jobs.wait_finished()["reason"] == "AllRowsAnswered"


def no_attempt_before_its_time(jobs):
    """Watches the next attempt come: not before the retry time that the one before was given, which lies ahead."""
    waiting = jobs.wait_until(lambda: (d := driver(jobs)).get("retryTime") and d, what="a time for the next attempt")
    due = datetime.fromisoformat(waiting["retryTime"])
    attempt = jobs.wait_until(
        lambda: (d := driver(jobs))["attempt"] > waiting["attempt"] and d, what="one more attempt"
    )
    assert datetime.now(UTC) >= due
    assert attempt["attempt"] == waiting["attempt"] + 1
    events = [event for event in jobs.events() if event["reason"] == "DriverSubmitted"]
    assert sum(event.get("count") or 1 for event in events) <= attempt["attempt"]
    again = jobs.wait_until(lambda: (d := driver(jobs)).get("retryTime") and d, what="its end, waited for again")
    assert datetime.fromisoformat(again["retryTime"]) - due >= timedelta(seconds=2)  # as the tests' operator is set


def worker_pods(jobs):
    """The worker pods there are, as kubectl names them."""
    return jobs.kubectl("get", "pods", "-n", jobs.namespace, "-l", "ray.io/node-type=worker", "-o", "name").split()


def driver(jobs):
    """The operator's account of the attempts."""
    return jobs.get()["status"]["driver"]


def said(jobs, name="rows"):
    """Every message that a user is shown about a job: its conditions and its events."""
    messages = [condition["message"] for condition in jobs.get(name)["status"]["conditions"]]
    return messages + [event["message"] for event in jobs.events()]


def head_address(jobs):
    """The IP of the job's head pod."""
    pods = jobs.kubectl.json("get", "pods", "-n", jobs.namespace, "-l", "ray.io/node-type=head")["items"]
    (head,) = [pod["status"]["podIP"] for pod in pods]
    return head


def driver_logs(jobs):
    """The log of every attempt, from Ray's Jobs API on the head, as the operator reads it."""
    head = head_address(jobs)
    (secret,) = [name for name in jobs.children() if name.startswith("secret/")]
    token = jobs.kubectl.json("get", secret, "-n", jobs.namespace)["data"]["auth_token"]

    def ask(path):
        headers = {"Authorization": f"Bearer {base64.b64decode(token).decode()}"}
        request = urllib.request.Request(f"http://{head}:8265/api/jobs/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    ended = [job["submission_id"] for job in ask("") if job["status"] in ("SUCCEEDED", "FAILED")]
    logs = [ask(f"{submission}/logs")["logs"] for submission in ended]
    assert logs
    assert all(logs)
    return logs


@pytest.mark.all
def test_the_output_folder_of_another_job_is_not_touched(jobs):
    jobs.write_rows(5)
    jobs.apply(jobs.manifest("first"))
    assert jobs.wait_finished("first")["reason"] == "AllRowsAnswered"
    before = {path.name: path.read_bytes() for path in jobs.output.iterdir() if path.is_file()}
    jobs.apply(jobs.manifest("second"))
    succeeded = jobs.wait_finished("second")
    assert (succeeded["status"], succeeded["reason"]) == ("False", "OutputInUse")
    assert not [text for text in said(jobs, "second") if "Traceback" in text]
    assert {path.name: path.read_bytes() for path in jobs.output.iterdir() if path.is_file()} == before


@pytest.mark.all
def test_the_same_job_applied_again_runs_nothing(jobs):
    jobs.write_rows(5)
    manifest = jobs.manifest()
    jobs.apply(manifest)
    jobs.wait_finished()
    before = (jobs.output / "results.jsonl").stat()
    jobs.kubectl("delete", "bij", "rows", "-n", jobs.namespace)
    jobs.apply(manifest)
    assert jobs.wait_finished()["reason"] == "AllRowsAnswered"
    after = (jobs.output / "results.jsonl").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def slow_job(jobs, rows=800, **spec):
    """A job that takes 25 seconds of answering, so that there is a middle to break it in on a loaded machine too."""
    ids = jobs.write_rows(rows)
    spec = {"workers": {"max": 1}} | spec
    model = {"name": "smollm2", "source": "/models/smollm2", "engineArgs": {"maxNumSeqs": 8, "maxModelLen": 2048}}
    jobs.apply(jobs.manifest(engine="engines:slow", model=model, **spec))
    return ids


def once_each(jobs, ids):
    assert Counter(jobs.answered_ids()) == Counter(ids)


def test_a_running_job_tells_how_far_it_is_and_a_deleted_one_stops_and_leaves_nothing(jobs):
    slow_job(jobs, rows=1600)
    jobs.wait_rows(10)
    row = table_row(*jobs.kubectl("get", "bij", "-n", jobs.namespace).splitlines())
    assert row["NAME"] == "rows"
    assert row["STATUS"] == "Processing"
    assert (row["TOTAL"], row["SUCCEEDED"]) == ("1600", "Unknown")
    assert 10 <= int(row["COMPLETED"]) <= 1600
    tells_when_it_is_done(jobs)

    assert processes_with(jobs.namespace)
    jobs.kubectl("delete", "bij", "rows", "-n", jobs.namespace)
    jobs.wait_until(lambda: not jobs.children() and not processes_with(jobs.namespace), what="an empty namespace")


def tells_when_it_is_done(jobs):
    """The rate that the driver measures, a time that fits it, and how old the rows are."""
    (rate,) = jobs.wait_until(lambda: driver_figures(jobs, METRIC_ROWS_PER_SECOND, attempt="1"), what="a rate")
    status = jobs.wait_until(lambda: (s := jobs.get()["status"])["measured"]["rows"] >= 100 and s, what="a forecast")
    assert 0 < rate < 64, "16 rows in flight, half a second each"
    left = datetime.fromisoformat(status["forecast"]["finishTime"]) - datetime.now(UTC)
    assert left < timedelta(seconds=2 * 1600 / rate + 20)
    assert status["forecast"]["meetsWindow"] is True
    assert status["queue"]["depth"] == status["rows"]["remaining"] > 0
    assert 0 <= float(status["queue"]["ageRatio"]) < 0.5


def driver_figures(jobs, name, **labels):
    """The values of one gauge of the driver with these labels, as they are served on the head."""
    with urllib.request.urlopen(f"http://{head_address(jobs)}:{METRICS_PORT}/metrics", timeout=10) as response:
        families = text_string_to_metric_families(response.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
    return [sample.value for sample in samples if labels.items() <= sample.labels.items()]


def table_row(heading, line):
    """One line of a table as a person reads it, by the column that each value stands under; it may be empty."""
    starts = [match.start() for match in re.finditer(r"\S+", heading)]
    bounds = zip(starts, [*starts[1:], None], strict=True)
    return {heading[start:end].strip(): line[start:end].strip() for start, end in bounds}


@pytest.mark.all
def test_the_operator_killed_and_started_again_goes_on(jobs, operator):
    ids = slow_job(jobs)
    jobs.wait_rows(10)
    operator.kill()
    time.sleep(2)
    operator.start()
    assert jobs.wait_finished()["reason"] == "AllRowsAnswered"
    once_each(jobs, ids)


def test_the_leading_operator_is_killed_at_work_and_the_other_goes_on(jobs, operator, figure):
    ids = slow_job(jobs, rows=400)
    jobs.wait_rows(10)
    leader = operator.leader()
    (pod,) = [name for name in operator.pods() if leader.startswith(name)]
    operator.collect()
    began = time.monotonic()
    jobs.kubectl("delete", "pod", pod, "-n", operator.namespace, "--grace-period=0", "--force")
    jobs.wait_until(lambda: operator.leader() not in {"", leader}, seconds=30, what="another leader")
    figure("another operator leads after", time.monotonic() - began)
    assert jobs.wait_finished()["reason"] == "AllRowsAnswered"
    once_each(jobs, ids)


def test_a_killed_driver_is_started_again_and_each_row_stands_once(jobs):
    ids = slow_job(jobs, rows=600)
    jobs.wait_rows(10)
    drivers = [pid for pid in processes_with("tidemill_workloads") if jobs.namespace.encode() in environ(pid)]
    assert drivers
    for pid in drivers:
        os.kill(pid, signal.SIGKILL)
    assert jobs.wait_finished()["reason"] == "AllRowsAnswered"
    once_each(jobs, ids)
    assert jobs.get()["status"]["driver"]["attempt"] == 2
    assert json.loads((jobs.output / "manifest.json").read_text())["attempt"] == 2


def environ(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.all
def test_a_lost_worker_costs_no_row(jobs):
    ids = slow_job(jobs)
    jobs.wait_rows(10)
    workers = worker_pods(jobs)
    assert workers
    jobs.kubectl("delete", *workers, "-n", jobs.namespace, "--grace-period=0", "--force", "--wait=false")
    assert jobs.wait_finished()["reason"] == "AllRowsAnswered"
    once_each(jobs, ids)


@pytest.mark.all
def test_a_lost_head_starts_the_driver_again_in_the_same_folder(jobs):
    ids = slow_job(jobs)
    jobs.wait_rows(10)
    heads = [name for name in jobs.children() if name.startswith("pod/") and "head" in name]
    jobs.kubectl("delete", *heads, "-n", jobs.namespace, "--grace-period=0", "--force", "--wait=false")
    assert jobs.wait_finished(seconds=180)["reason"] == "AllRowsAnswered"
    once_each(jobs, ids)


@pytest.mark.all
def test_a_finished_job_goes_after_its_time_to_live_and_its_files_stay(jobs):
    ids = jobs.write_rows(5)
    jobs.apply(jobs.manifest(ttlSecondsAfterFinished=3))
    jobs.wait_until(lambda: not jobs.exists("rows"), what="the job's end")
    assert jobs.answered_ids() == ids
