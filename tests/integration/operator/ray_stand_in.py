"""Stands for one head pod: Ray's Jobs REST API on port 8265 and the driver's figures on port 8090 of one address.

No Ray runs: the tests here are about what the operator asks and does. What the answers look like was read from Ray
2.60 (`ray/dashboard/modules/job`): unknown ids are 404, a second POST of an id is 500, a wrong token is 401.
"""

import json
from dataclasses import dataclass, field

from aiohttp import web

from tidemill_api import job_contract as contract
from tidemill_api.job_contract import JobConfig, Outcome

DASHBOARD_PORT = 8265


@dataclass
class Submission:
    config: JobConfig
    status: str = "RUNNING"
    log: str = "starting\n"
    # The driver's figures: None while it serves none.
    figures: dict[str, float] | None = None
    phase: str = "validating"
    in_flight: dict[str, int] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.status in ("PENDING", "RUNNING")


class RayStandIn:
    """A head. Tests move its driver on with `validate`, `process`, `finish` and `die`."""

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.token: str | None = None  # the first one that is used; any other is refused
        self.one_token = True  # False where the heads of many clusters share this address
        self.submissions: dict[str, Submission] = {}
        self.posts = 0
        self.stops: list[str] = []
        self.refuse_posts = 0  # answer so many POSTs with `refuse_code`: 500 as while the job agent is starting
        self.refuse_code = 500
        self.refuse_stops = 0
        self.max_alive = 0
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        jobs = web.Application(middlewares=[self._authenticate])
        jobs.router.add_get("/api/jobs/{id}", self._get)
        jobs.router.add_post("/api/jobs/", self._post)
        jobs.router.add_post("/api/jobs/{id}/stop", self._stop)
        jobs.router.add_get("/api/jobs/{id}/logs", self._logs)
        figures = web.Application()
        figures.router.add_get("/metrics", self._metrics)
        for app, port in ((jobs, DASHBOARD_PORT), (figures, contract.METRICS_PORT)):
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, self.ip, port).start()
            self._runners.append(runner)

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    @property
    def driver(self) -> Submission | None:
        return next((s for s in reversed(self.submissions.values()) if s.alive), None)

    def validate(self, lines: int) -> None:
        self.driver.figures = {contract.METRIC_ROWS_VALIDATED: lines}

    def process(self, total: int, completed: int = 0, per_worker: int = 10, in_flight: dict[str, int] | None = None):
        driver = self.driver
        driver.phase = "processing"
        driver.in_flight = in_flight or {}
        driver.figures = {
            contract.METRIC_ROWS_TOTAL: total,
            contract.METRIC_ROWS_COMPLETED: completed,
            contract.METRIC_ROWS_FAILED: 0,
            contract.METRIC_ROWS_PER_WORKER: per_worker,
            contract.METRIC_PROMPT_TOKENS: completed * 7,
            contract.METRIC_COMPLETION_TOKENS: completed * 3,
        }

    def finish(self, outcome: Outcome, status: str = "SUCCEEDED") -> None:
        driver = self.driver
        driver.log += outcome.to_log_line() + "\n"
        driver.status, driver.figures = status, None

    def die(self, words: str) -> None:
        driver = self.driver
        driver.log += words + "\n"
        driver.status, driver.figures = "FAILED", None

    def forget(self) -> None:
        """The head's container restarted: Ray knows nothing any more."""
        self.submissions.clear()

    @web.middleware
    async def _authenticate(self, request, handler):
        given = request.headers.get("Authorization", "")
        if not given.startswith("Bearer ") or len(given) < 30:
            return web.json_response({"error": "no token"}, status=401)
        self.token = self.token or given
        if self.one_token and given != self.token:
            return web.json_response({"error": "wrong token"}, status=401)
        return await handler(request)

    async def _get(self, request):
        found = self.submissions.get(request.match_info["id"])
        if found is None:
            return web.Response(status=404, text="job does not exist")
        return web.json_response({"submission_id": request.match_info["id"], "status": found.status})

    async def _post(self, request):
        self.posts += 1
        body = await request.json()
        if self.refuse_posts > 0 or body["submission_id"] in self.submissions:
            self.refuse_posts -= 1
            return web.Response(status=self.refuse_code, text="no agent, or the id exists")
        assert body["entrypoint"] == contract.ENTRYPOINT
        assert "entrypoint_num_cpus" not in body
        config = JobConfig.model_validate_json(body["runtime_env"]["env_vars"][contract.CONFIG_VARIABLE])
        self.submissions[body["submission_id"]] = Submission(config)
        self.max_alive = max(self.max_alive, sum(s.alive for s in self.submissions.values()))
        return web.json_response({"submission_id": body["submission_id"]})

    async def _stop(self, request):
        found = self.submissions.get(request.match_info["id"])
        if found is None:
            return web.Response(status=404, text="job does not exist")
        self.stops.append(request.match_info["id"])
        if self.refuse_stops > 0:
            self.refuse_stops -= 1
            return web.Response(status=500, text="no agent")
        if found.alive:
            found.status, found.figures = "STOPPED", None
        return web.json_response({"stopped": True})

    async def _logs(self, request):
        text = json.dumps({"logs": self.submissions[request.match_info["id"]].log})
        return web.Response(text=text, content_type="application/json")

    async def _metrics(self, _request):
        driver = self.driver
        if driver is None or driver.figures is None:
            return web.Response(status=503)
        labels = f'job="{driver.config.namespace}/{driver.config.name}",attempt="{driver.config.attempt}"'
        lines = [f'{contract.METRIC_PHASE}{{{labels},phase="{driver.phase}"}} 1']
        lines += [f"{name}{{{labels}}} {value}" for name, value in driver.figures.items()]
        lines += [
            f'{contract.METRIC_ROWS_IN_FLIGHT}{{{labels},node="{node}"}} {rows}'
            for node, rows in driver.in_flight.items()
        ]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")
