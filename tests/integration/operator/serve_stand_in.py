"""Stands for the Ray of one revision: Serve's REST API on the head, and the figures of replicas on each pod's address.

No Ray runs: the tests here are about what the operator asks and does. What the answers look like was read from Ray
2.60 (`ray/dashboard/modules/serve`, `serve/_private/deployment_state.py`): a changed PUT sets the replicas of what it
changes, `/scale` does without one, replicas on draining nodes are stopped before any other, and a deployment of which
no replica ever started is given up until its configuration changes.
"""

import json

from aiohttp import web

from tidemill_api import endpoint_contract as contract

DASHBOARD_PORT = 8265
DEPLOYMENTS = (contract.ENGINE_DEPLOYMENT, contract.INGRESS_DEPLOYMENT)


class ServeStandIn:
    """A head and its workers. Tests set the load, and break and mend the model."""

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.workers: dict[str, bool] = {}  # address -> whether its pod was told to go
        self.config: dict | None = None
        self.told: dict[str, dict] = {}
        self.targets: dict[str, int] = {}
        self.broken = ""
        self.given_up = False
        self.waiting = self.running = 0
        self.oldest = 0.0
        self.puts: list[dict] = []
        self.silent = self.ended = False
        self._sites: dict[str, list[web.AppRunner]] = {}

    async def start(self) -> None:
        head = web.Application()
        head.router.add_get("/api/serve/applications/", self._get)
        head.router.add_put("/api/serve/applications/", self._put)
        head.router.add_delete("/api/serve/applications/", self._end)
        head.router.add_post("/api/v1/applications/{app}/deployments/{name}/scale", self._scale)
        self._sites[self.ip] = [
            await self._site(head, self.ip, DASHBOARD_PORT),
            await self._figures_of(self.ip, contract.INGRESS_METRICS_PORT, self._ingress),
        ]

    async def stop(self) -> None:
        for runners in self._sites.values():
            for runner in runners:
                await runner.cleanup()
        self._sites.clear()

    async def pod_is_ready(self, ip: str) -> None:
        if ip not in self.workers:
            self.workers[ip] = False
            self._sites[ip] = [
                await self._figures_of(ip, contract.INGRESS_METRICS_PORT, self._ingress),
                await self._figures_of(ip, contract.ENGINE_METRICS_PORT, self._engine),
            ]

    def pod_drains(self, ip: str) -> bool:
        """Told to go: True once none of its replicas is left."""
        if ip in self.workers:
            self.workers[ip] = True
        return not any(ip == place for name in DEPLOYMENTS for _, _, place in self._replicas(name))

    async def pod_is_gone(self, ip: str) -> None:
        self.workers.pop(ip, None)
        for runner in self._sites.pop(ip, ()):
            await runner.cleanup()

    # What Serve does

    def _replicas(self, name: str) -> list[tuple[str, str, str]]:
        """The replicas of a deployment as (name, state, address)."""
        if name not in self.targets:
            return []
        target = self.targets[name]
        head = [self.ip] if name == contract.INGRESS_DEPLOYMENT else []
        places = head + [ip for ip, going in self.workers.items() if not going]
        if self.broken and name == contract.ENGINE_DEPLOYMENT:
            self.given_up = self.given_up or (target > 0 and bool(places))
            return []
        running = [(f"{name}-{ip}", "RUNNING", ip) for ip in places[:target]]
        draining = [(f"{name}-{ip}", "PENDING_MIGRATION", ip) for ip, going in self.workers.items() if going]
        kept = draining[max(len(running) + len(draining) - target, 0) :]
        missing = [(f"{name}-{n}", "STARTING", "") for n in range(target - len(running))]
        return running + kept + missing

    def _details(self) -> dict:
        if self.config is None:
            return {"applications": {}}
        deployments = {}
        for name in DEPLOYMENTS:
            listed = self._replicas(name)
            failed = name == contract.ENGINE_DEPLOYMENT and self.given_up
            replicas = [{"replica_id": r, "state": s} | ({"node_ip": ip} if ip else {}) for r, s, ip in listed]
            deployments[name] = {
                "status": "DEPLOY_FAILED" if failed else "HEALTHY",
                "message": self.broken if failed else "",
                "target_num_replicas": self.targets[name],
                "replicas": replicas,
            }
        (application,) = self.config["applications"]
        return {
            "applications": {
                contract.APPLICATION: {
                    "status": "DEPLOY_FAILED" if self.given_up else "RUNNING",
                    "message": "",
                    "deployed_app_config": application,
                    "deployments": deployments,
                }
            }
        }

    async def _get(self, request: web.Request) -> web.Response:
        if self.silent or not request.headers.get("Authorization", "").startswith("Bearer "):
            return web.Response(status=401 if not self.silent else 503)
        return web.json_response(self._details())

    async def _put(self, request: web.Request) -> web.Response:
        self.config = await request.json()
        self.puts.append(self.config)
        for deployment in self.config["applications"][0]["deployments"]:
            name = deployment["name"]
            if self.told.get(name) != deployment:
                self.targets[name] = deployment["num_replicas"]
                self.given_up = self.given_up and name != contract.ENGINE_DEPLOYMENT
            self.told[name] = deployment
        return web.Response()

    async def _end(self, _: web.Request) -> web.Response:
        self.ended = True
        return web.Response()

    async def _scale(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.targets:
            return web.Response(status=404)
        self.targets[name] = json.loads(await request.text())["target_num_replicas"]
        return web.json_response({"message": "ok"})

    # Figures

    def _labels(self, replica: str) -> str:
        args = self.config["applications"][0]["args"]
        endpoint = f"{args['namespace']}/{args['name']}"
        return f'{{endpoint="{endpoint}",revision="{args["revision"]}",replica="{replica}"}}'

    def _ingress(self, ip: str) -> dict[str, float]:
        mine = ip == self.ip
        return {
            contract.METRIC_WAITING: self.waiting if mine else 0,
            contract.METRIC_RUNNING: self.running if mine else 0,
            contract.METRIC_OLDEST_WAITING: self.oldest if mine else 0,
        }

    def _engine(self, ip: str) -> dict[str, float]:
        return {contract.METRIC_ENGINE_READY: 1, contract.METRIC_ENGINE_RUNNING: 0, contract.METRIC_ENGINE_WAITING: 0}

    async def _figures_of(self, ip: str, port: int, figures) -> web.AppRunner:
        kind = contract.INGRESS_DEPLOYMENT if figures == self._ingress else contract.ENGINE_DEPLOYMENT

        async def answer(_: web.Request) -> web.Response:
            labels = self._labels(f"{kind}-{ip}")
            gauges = figures(ip).items()
            lines = [line for name, value in gauges for line in (f"# TYPE {name} gauge", f"{name}{labels} {value}")]
            return web.Response(text="\n".join(lines) + "\n")

        app = web.Application()
        app.router.add_get("/metrics", answer)
        return await self._site(app, ip, port)

    async def _site(self, app: web.Application, ip: str, port: int) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, ip, port).start()
        return runner
