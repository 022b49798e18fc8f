"""A small world in which whole jobs are played with a virtual clock: a user, API server, KubeRay, Ray and a driver.

The planner is the real one; everything around it is a model of how those parts behave, as `reconciler.py` and
`apply.py` see them. Invariants are checked after every step.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from unit.operator.builders import T0, make_cluster, make_job, make_spec

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, RowCounts
from tidemill_operator.core import plan as actions
from tidemill_operator.core.attempts import open_attempt
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import AttemptState, AttemptView, DriverMetrics, Snapshot, WorkerPod

PER_WORKER = 5
CONDITIONS = ["Validated", "Progressing", "Suspended", "WindowAtRisk", "Succeeded", "Finished"]


@dataclass
class Driver:
    """One attempt on a head. Its rows live in the world, as they live in the output folder.

    With an `ending` it runs no row: it writes the lines that are missing and joins.
    """

    ending: str | None = None
    phase: str = "starting"
    in_flight: dict[str, int] = field(default_factory=dict)
    end: AttemptView | None = None
    told_to_stop: bool = False


@dataclass
class SimWorld:
    total: int = 23
    least: int = 0
    input_exists: bool = True
    now: object = T0

    def __post_init__(self):
        self.job = make_job(spec=make_spec(workers={"min": self.least, "max": 4}))
        self.cluster = None
        self.pods: list[WorkerPod] = []
        self.drivers: dict[tuple[int, str | None], Driver] = {}  # of the head that runs now
        self.done = 0  # rows with a line in the output folder
        self.validated = False
        self.manifest: Outcome | None = None
        self.writable = True
        self.stops = True  # whether drivers heed a stop
        self.silent = False  # whether Ray and the driver are out of the operator's reach
        self.pod_number = 0
        self.max_alive = 0
        self.events: list[str] = []
        self.deleted = False

    # What happens around the operator

    def head_comes_up(self):
        if self.cluster is not None and not self.cluster.head_ready:
            back = {"head_ready": True, "head_ip": "10.0.0.1", "head_ready_since": self.now, "head_away_since": None}
            self.cluster = replace(self.cluster, **back)

    def head_dies(self):
        if self.cluster is not None:
            away = {"head_ready": False, "head_ip": "", "head_ready_since": None, "head_away_since": self.now}
            self.cluster = replace(self.cluster, **away)
            self.drivers.clear()

    def cluster_is_deleted(self):
        self.cluster = None
        self.pods.clear()
        self.drivers.clear()

    def driver_dies(self):
        for driver in self._alive():
            driver.end = AttemptView(AttemptState.ENDED, log_tail="Killed")

    def worker_dies(self):
        if self.pods:
            dead = self.pods.pop()
            for driver in self._alive():
                driver.in_flight.pop(dead.ip, None)
            self._replace_pods()

    def input_appears(self):
        self.input_exists = True

    def output_is_full(self):
        self.writable = False

    def output_has_room(self):
        self.writable = True

    def _edit(self, **fields):
        spec = self.job.spec.model_copy(update=fields)
        self.job = replace(self.job, spec=spec, generation=self.job.generation + 1)

    def user_suspends(self):
        self._edit(suspend=True)

    def user_resumes(self):
        self._edit(suspend=False)

    def user_cancels(self):
        self._edit(cancel=True)

    def window_ends(self):
        self.now = max(self.now, self.job.created + self.job.spec.window)

    def work_goes_on(self):
        """KubeRay makes pods, and the driver gets one step further."""
        self._replace_pods()
        self.pods = [replace(pod, ready=True) for pod in self.pods]
        for driver in self._alive():
            self._drive(driver)

    def _drive(self, driver):
        if self.manifest is not None:
            driver.end = AttemptView(AttemptState.ENDED, outcome=self.manifest)
        elif not self.writable:
            self._end(driver, Reason.OUTPUT_NOT_WRITABLE)
        elif driver.ending:
            self._finish(driver)
        elif driver.phase == "starting":
            driver.phase = "validating"
            if not self.input_exists:
                self._end(driver, Reason.INPUT_NOT_FOUND)
        elif driver.phase == "validating":
            self.validated = True
            driver.phase = "finalising" if self.done == self.total else "processing"
        elif driver.phase == "processing":
            self._answer(driver)
        elif driver.phase == "finalising":
            self._join(driver, Reason.ALL_ROWS_ANSWERED)

    def _answer(self, driver):
        self.done += sum(driver.in_flight.values())
        driver.in_flight.clear()
        left = self.total - self.done
        for pod in self.pods:
            if pod.ready and left > 0:
                driver.in_flight[pod.ip] = min(left, PER_WORKER)
                left -= driver.in_flight[pod.ip]
        if self.done == self.total:
            driver.phase = "finalising"

    def _finish(self, driver):
        if driver.phase == "starting":
            driver.phase = "finalising"
        elif self.validated:
            self._join(driver, Reason(driver.ending))
        else:
            self._end(driver, Reason(driver.ending))

    def _join(self, driver, reason):
        rows = RowCounts(total=self.total, completed=self.done, failed=self.total - self.done)
        self.manifest = Outcome(reason=reason, message="So it is.", rows=rows)
        driver.end = AttemptView(AttemptState.ENDED, outcome=self.manifest)

    def _end(self, driver, reason):
        driver.end = AttemptView(AttemptState.ENDED, outcome=Outcome(reason=reason, message="So it is."))

    def _alive(self):
        return [driver for driver in self.drivers.values() if driver.end is None]

    def _replace_pods(self):
        while self.cluster is not None and len(self.pods) < self.cluster.replicas:
            self.pod_number += 1
            self.pods.append(WorkerPod(f"w{self.pod_number}", f"10.0.1.{self.pod_number}", False, False))

    # The operator's reconcile

    def snapshot(self):
        workers = tuple(self.pods)
        seen = Snapshot(now=self.now, job=self.job, cluster=self.cluster, workers=workers, pods=len(workers))
        ledger = self.job.status.driver
        if not open_attempt(ledger) or self.job.status.completion_time is not None:
            return seen
        driver = self.drivers.get((ledger.attempt, ledger.ending))
        attempt = self._attempt(driver)
        metrics = self._metrics(driver) if attempt.state is AttemptState.ACTIVE else None
        return replace(seen, attempt=attempt, metrics=metrics)

    def _attempt(self, driver):
        if self.cluster is None:
            return AttemptView(AttemptState.LOST)
        if self.silent or not self.cluster.head_ready:
            return AttemptView(AttemptState.UNKNOWN, problem="timed out.")
        if driver is None:
            return AttemptView(AttemptState.LOST)
        return driver.end or AttemptView(AttemptState.ACTIVE)

    def _metrics(self, driver):
        if driver.phase == "starting" or (driver.ending and not self.validated):
            return None  # an attempt that only ends the job has nothing to say where no input was validated
        return DriverMetrics(
            phase=driver.phase,
            rows_total=self.total if driver.phase != "validating" else None,
            rows_validated=1,
            rows_completed=self.done,
            rows_per_worker=PER_WORKER,
            in_flight=dict(driver.in_flight),
        )

    def reconcile(self, crash=""):
        """One reconcile. `crash` kills the operator before it acts, or after it acted and before it wrote."""
        seen = self.snapshot()
        decided = plan(seen)
        if crash == "before":
            return None
        if self.silent and any(isinstance(action, actions.SubmitDriver) for action in decided.actions):
            decided = plan(replace(seen, submit_problem="timed out."))
        for action in decided.actions:
            self._apply(action)
            self._check_world()
        if crash == "after":
            return None
        self._check_status(decided.status)
        self.job = replace(self.job, status=decided.status)
        self.events += [event.reason for event in decided.events]
        return decided

    def _apply(self, action):
        match action:
            case actions.CreateCluster():
                if self.cluster is None:
                    away = {"head_ready": False, "head_ip": "", "head_ready_since": None}
                    self.cluster = make_cluster(**away, head_away_since=self.now)
            case actions.DeleteCluster():
                self.cluster_is_deleted()
            case actions.SubmitDriver(_, attempt, ending):
                for namesake in (None, "Cancelled", "Expired") if ending else ():
                    if namesake != ending:
                        self._stop(attempt, namesake)
                self.drivers.setdefault((attempt, ending), Driver(ending))
            case actions.StopDriver(_, attempt, ending):
                self._stop(attempt, ending)
            case actions.ScaleCluster():
                self._scale(action)
            case actions.DeleteJob():
                self.deleted = True

    def _stop(self, attempt, ending):
        driver = self.drivers.get((attempt, ending))
        if driver is None or driver.end is not None or self.silent:
            return
        driver.told_to_stop = True
        if self.stops:
            self.done += sum(driver.in_flight.values())  # it flushes what is answered
            driver.end = AttemptView(AttemptState.STOPPED)

    def _scale(self, scale):
        busy = {ip for driver in self._alive() for ip, rows in driver.in_flight.items() if rows}
        victims = [pod for pod in self.pods if pod.name in scale.workers_to_delete]
        assert not [pod for pod in victims if pod.ip in busy], "a busy worker was deleted"
        self.pods = [pod for pod in self.pods if pod not in victims]
        assert len(self.pods) <= scale.replicas, "KubeRay would have to pick a pod by itself"
        assert scale.replicas == 0 or self.validated, "workers before validation"
        asked = self.job.spec.cancel or self.job.spec.suspend or self.now >= self.job.created + self.job.spec.window
        assert scale.replicas <= self.cluster.replicas or not asked, "workers for a job that has to stop"
        self.cluster = replace(
            self.cluster,
            replicas=scale.replicas,
            max_replicas=scale.max_replicas,
            workers_to_delete=scale.workers_to_delete,
        )

    def _check_world(self):
        unfenced = [driver for driver in self._alive() if not driver.told_to_stop]  # the next claim fences the others
        assert len(unfenced) <= 1, "two attempts at once"
        assert not any(driver.ending and driver.in_flight for driver in self._alive())

    def _check_status(self, new):
        old = {c.type: c for c in self.job.status.conditions}
        assert [c.type for c in new.conditions] == CONDITIONS
        for condition in new.conditions:
            before = old.get(condition.type)
            flipped = before is None or before.status != condition.status
            assert condition.last_transition_time == (self.now if flipped else before.last_transition_time)
        if self.finished:
            assert new.completion_time == self.job.status.completion_time, "an end was taken back"
        assert new.driver.attempt >= self.job.status.driver.attempt
        assert new.rows.completed + new.rows.failed <= max(new.rows.total, 0)

    @property
    def finished(self):
        return any(c.type == "Finished" and c.status == "True" for c in self.job.status.conditions)

    def succeeded(self):
        return self.reason("Succeeded")

    def reason(self, of):
        return next(c.reason for c in self.job.status.conditions if c.type == of)

    def settle(self):
        """Reconciles until there is nothing more to do at this moment, as the queue would."""
        for _ in range(20):
            before = self.job.status, self.cluster, tuple(self.pods), tuple(self.drivers)
            decided = self.reconcile()
            if before == (self.job.status, self.cluster, tuple(self.pods), tuple(self.drivers)):
                assert decided.events == (), "an event about nothing new"
                return
        raise AssertionError("it never settles")

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)
