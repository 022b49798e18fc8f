"""What the operator tells a batch driver and what the driver tells the operator.

The operator submits `ENTRYPOINT` over Ray's Jobs REST API with a `JobConfig` as JSON in the environment variable
`CONFIG_VARIABLE`. The driver answers in two ways: live, as Prometheus text on `METRICS_PORT` of the head pod
(the metric names below), and at its end, as one `Outcome` in JSON, the last line of its job log.
Neither side imports the other. Exit codes: 0 the job is done, 3 the user has to mend something, 1 anything else.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tidemill_api.conditions import AWAITED, Reason
from tidemill_api.v1alpha1.common import ModelSpec  # noqa: TC001 - pydantic reads it when JobConfig is first used

CONFIG_VARIABLE = "TIDEMILL_JOB"
"""Environment variable of the driver that holds its `JobConfig` as JSON. Holds no secret."""

ENGINE_VARIABLE = "TIDEMILL_ENGINE"
"""Environment variable `module:factory` that gives tests another engine than vLLM. Never a CRD field."""

ENTRYPOINT = "exec python -m tidemill_workloads"
"""Shell command of the submission. Validates in a process of its own, then becomes the driver.

`exec` leaves no shell between Ray and the driver: a stop would end the shell first, nobody in the pod would bury the
driver then, and Ray would wait for it until `RAY_JOB_STOP_WAIT_TIME_S` is over.
"""

METRICS_PORT = 8090
"""TCP port on the head pod where the validating process and then the driver serve Prometheus text at /metrics."""

ENGINE_RESOURCE = "tidemill_engine"
"""Custom Ray resource: each worker pod offers 1, each engine actor takes 1, so one engine runs per pod."""

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USER = 3

OUTCOME_PREFIX = "TIDEMILL_OUTCOME "
"""The last line of a driver's log starts with this, the JSON of an `Outcome` follows."""

# Names of the gauges. All carry the labels `job` (namespace/name) and `attempt`.
METRIC_PHASE = "tidemill_batch_phase"  # 1 for the phase in label `phase`, else 0: validating, processing, finalising
METRIC_ROWS_TOTAL = "tidemill_batch_rows_total"  # lines of the input that are requests; absent until known
METRIC_ROWS_VALIDATED = "tidemill_batch_rows_validated"  # lines read by the validating process so far
METRIC_ROWS_COMPLETED = "tidemill_batch_rows_completed"  # rows that have a result line (2xx) in the output folder
METRIC_ROWS_FAILED = "tidemill_batch_rows_failed"  # rows that have an error line in the output folder
METRIC_ROWS_IN_FLIGHT = "tidemill_batch_rows_in_flight"  # rows handed to an engine and not answered; label `node` (IP)
METRIC_ROWS_PER_WORKER = "tidemill_batch_rows_per_worker"  # rows one worker holds in flight when it is full
METRIC_ROWS_PER_SECOND = "tidemill_batch_rows_per_second"  # answered over the last minute of work; absent until known
METRIC_PROMPT_TOKENS = "tidemill_batch_prompt_tokens"
METRIC_COMPLETION_TOKENS = "tidemill_batch_completion_tokens"

Phase = Literal["validating", "processing", "finalising"]

Ending = Literal["Cancelled", "Expired"]
"""Why rows without a line get an error line instead of an answer."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobConfig(_Frozen):
    """One attempt of one job, as the driver needs it. Everything but `attempt` is the same for each attempt."""

    namespace: str
    name: str
    attempt: int = Field(ge=1, description="The operator's submission number, a label of the live metrics")
    model: ModelSpec
    input_uri: str
    output_uri: str = Field(description="Folder, ends with a slash")
    workers_max: int = Field(ge=1, description="Size of the engine pool; worker pods may come and go below it")
    gpus_per_worker: int = Field(ge=0, description="Tensor parallel size; 0 runs the engine on the CPU")
    mounts: tuple[str, ...] = Field(default=(), description="Mount paths of the pods: a local URI must lie under one")
    metrics_port: int = METRICS_PORT
    ending: Ending | None = Field(
        default=None, description="Set: run no row, give each row without a line its error line, join and finalise"
    )
    on_invalid: Literal["Fail", "Skip"] = Field(
        default="Fail", description="Bad lines end the job, or become error lines of their own"
    )
    max_attempts: int = Field(default=3, ge=1, description="Times a row is tried where the fault can pass")
    retry_backoff_seconds: int = Field(
        default=2, ge=0, description="Longest wait before a row's second try, doubled after it"
    )
    max_failed_rows: int | None = Field(default=None, ge=0, description="More failed rows than this end the job")
    allow_loopback_input: bool = Field(
        default=False, description="Whether an http(s) input may lead to the pod itself: only where all is one machine"
    )
    resubmit_of_uri: str = Field(
        default="", description="Output folder of a finished job whose 2xx lines are taken over, empty for none"
    )


class RowCounts(_Frozen):
    """Rows of the input by what became of them; total = completed + failed at the end."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class TokenCounts(_Frozen):
    """Tokens of all answered rows, as the engine's `usage` counted them."""

    prompt: int = 0
    completion: int = 0


class OutputURIs(_Frozen):
    """Where the files of a finished job lie; empty where a file does not exist."""

    results: str = ""
    errors: str = ""
    validation: str = ""


class Outcome(_Frozen):
    """How an attempt ended, in the driver's own words."""

    reason: Reason
    message: str = Field(description="One sentence for the user: what happened and, where it failed, what to do")
    rows: RowCounts = RowCounts()
    invalid_lines: int = 0
    tokens: TokenCounts = TokenCounts()
    output: OutputURIs = OutputURIs()

    @property
    def awaited(self) -> bool:
        """True where the user may mend the cause and the job goes on by itself; False where this is the end."""
        return self.reason in AWAITED

    def to_log_line(self) -> str:
        """The line that a driver prints last, without a newline."""
        return OUTCOME_PREFIX + self.model_dump_json()

    @classmethod
    def from_log(cls, log: str) -> Outcome | None:
        """The outcome in a driver's log, or None where it ended without one. Later lines win."""
        for line in reversed(log.split("\n")):  # not splitlines: a message may hold U+0085 or U+2028
            if line.startswith(OUTCOME_PREFIX):
                return cls.model_validate_json(line.removeprefix(OUTCOME_PREFIX))
        return None
