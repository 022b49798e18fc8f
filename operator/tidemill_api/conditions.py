"""Condition types and reasons: every word that may stand in a `status.conditions` entry.

These are API: alerts, scripts and `kubectl wait` match on them, so a constant is never renamed, only added.
`Succeeded` sums up a bounded job (Unknown until its end); `Finished` turns True in every case, so that
`kubectl wait --for=condition=Finished` never hangs.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """The types of the conditions of a BatchInferenceJob."""

    VALIDATED = "Validated"
    PROGRESSING = "Progressing"
    SUSPENDED = "Suspended"
    WINDOW_AT_RISK = "WindowAtRisk"
    SUCCEEDED = "Succeeded"
    FINISHED = "Finished"


class Reason(StrEnum):
    """Why a condition has its status. Grouped by the condition that carries it."""

    # Validated
    AWAITING_VALIDATION = "AwaitingValidation"
    ALL_LINES_VALID = "AllLinesValid"
    BAD_LINES_SKIPPED = "BadLinesSkipped"

    # Progressing=True: what is being done
    CLUSTER_STARTING = "ClusterStarting"
    VALIDATING = "Validating"
    AWAITING_WORKERS = "AwaitingWorkers"
    PROCESSING = "Processing"
    FINALISING = "Finalising"
    # Progressing=True: the driver works, its live figures cannot be read, and workers are held as they are
    FIGURES_MISSING = "FiguresMissing"
    # Progressing=Unknown: the head is there, its Ray does not answer
    RAY_UNREACHABLE = "RayUnreachable"
    # Progressing=False: what is awaited; heals by itself when the cause is mended
    INPUT_NOT_FOUND = "InputNotFound"
    INPUT_NOT_READABLE = "InputNotReadable"
    OUTPUT_NOT_WRITABLE = "OutputNotWritable"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_NOT_LOADABLE = "ModelNotLoadable"
    CLUSTER_REJECTED = "ClusterRejected"
    KUBERAY_MISSING = "KubeRayMissing"
    DRIVER_FAILING = "DriverFailing"
    STORAGE_UNREACHABLE = "StorageUnreachable"
    RESUBMIT_SOURCE_NOT_READY = "ResubmitSourceNotReady"
    # Progressing=False: Kueue has not admitted the RayCluster (again): its queue waits for quota
    AWAITING_ADMISSION = "AwaitingAdmission"
    # Progressing=False: validated, and planned to begin later (schedule LatestSafe)
    START_PLANNED = "StartPlanned"
    # Progressing=False: nothing more to do
    JOB_FINISHED = "JobFinished"

    # Succeeded=Unknown, Finished=False
    RUNNING = "Running"
    # Succeeded=True
    ALL_ROWS_ANSWERED = "AllRowsAnswered"
    SOME_ROWS_FAILED = "SomeRowsFailed"
    # Succeeded=False; Progressing=True carries the last two while the lines of rows without an answer are written
    INVALID_SPEC = "InvalidSpec"
    VALIDATION_FAILED = "ValidationFailed"
    OUTPUT_IN_USE = "OutputInUse"
    INPUT_CHANGED = "InputChanged"
    ALL_ROWS_FAILED = "AllRowsFailed"
    TOO_MANY_ROWS_FAILED = "TooManyRowsFailed"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"

    # Suspended=True, and Progressing=False meanwhile
    SUSPEND_REQUESTED = "SuspendRequested"
    # Suspended=False
    NOT_SUSPENDED = "NotSuspended"

    # WindowAtRisk=Unknown
    NO_FORECAST = "NoForecast"
    # WindowAtRisk=False
    ON_TRACK = "OnTrack"
    # WindowAtRisk=True: the measured cause
    NO_CAPACITY = "NoCapacity"
    QUOTA_REACHED = "QuotaReached"
    TOO_FEW_WORKERS = "TooFewWorkers"
    SLOW_START = "SlowStart"
    SLOW_RATE = "SlowRate"
    BAD_ROWS = "BadRows"
    JOB_PAUSED = "Suspended"
    JOB_WAITING = "JobWaiting"
    WINDOW_PASSED = "WindowPassed"


AWAITED: frozenset[Reason] = frozenset(
    {
        Reason.INPUT_NOT_FOUND,
        Reason.INPUT_NOT_READABLE,
        Reason.OUTPUT_NOT_WRITABLE,
        Reason.MODEL_NOT_FOUND,
        Reason.MODEL_NOT_LOADABLE,
        Reason.STORAGE_UNREACHABLE,
        Reason.RESUBMIT_SOURCE_NOT_READY,
    }
)
"""Reasons of a driver's outcome that are waited for with back-off until the completion window ends."""
