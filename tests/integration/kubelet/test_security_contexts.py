"""As whom containers really run, what they can write to, and what an image without a command starts."""

import pytest
from kubelet_team import main, phase, waits_for

pytestmark = pytest.mark.cluster

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "runAsUser": 65532,
    "runAsGroup": 65532,
}
LOOK = """
id -u; id -g; id -G
grep -E "^(CapBnd|CapEff|NoNewPrivs)" /proc/self/status
for folder in / /var/tmp /run /root /scratch; do touch $folder/x 2>/dev/null && echo wrote $folder; done
python -c "import kopf; print('imports', kopf.__name__)"
umask 077; echo here > /scratch/file; stat -c "%u:%g %a" /scratch /scratch/file
echo reopened > /dev/stdout
"""


async def test_a_restricted_container_is_restricted(team):
    container = {"securityContext": RESTRICTED, "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    await team.run("web", "sh", "-c", LOOK, container=container, restartPolicy="Never",
                   securityContext={"fsGroup": 2000}, volumes=[{"name": "scratch", "emptyDir": {}}])  # fmt: skip
    await team.until("web", phase("Succeeded"))
    told = (await team.log("web")).splitlines()
    assert told[:3] == ["65532", "65532", "65532 2000"]
    assert [line.split()[-1] for line in told[3:6]] == ["0" * 16, "0" * 16, "1"]
    assert told[6:] == ["wrote /scratch", "imports kopf", "0:2000 2777", "65532:2000 600", "reopened"]


async def test_an_image_of_ours_starts_what_it_would_as_its_user(team):
    script = "grep -E '^Uid' /proc/1/status"
    probe = {"exec": {"command": ["sh", "-c", script + " && id -u | grep -x 65532"]}, "periodSeconds": 1}
    container = {"image": "registry.example/tidemill-operator:9", "command": None, "args": ["--help"]}
    await team.run("help", container=container, restartPolicy="Never", securityContext={"runAsNonRoot": True})
    await team.until("help", phase("Succeeded"))
    assert "usage: tidemill-operator" in await team.log("help")
    container = {"image": "any", "readinessProbe": probe, "securityContext": {"runAsUser": 65532}}
    await team.run("probed", "sleep", "100", container=container)
    await team.until("probed", lambda status: main(status).get("ready"))


async def test_what_cannot_start_says_why_and_waits(team):
    await team.run("unknown", container={"image": "nginx", "command": None})
    await team.run("root", "true", container={"securityContext": {"runAsNonRoot": True, "runAsUser": 0}})
    status = await team.until("unknown", waits_for("ErrImagePull"))
    assert "give the container a command" in main(status)["state"]["waiting"]["message"]
    status = await team.until("root", waits_for("CreateContainerConfigError"))
    assert "breaks non-root policy" in main(status)["state"]["waiting"]["message"]
