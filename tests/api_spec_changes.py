"""Changes of a BatchInferenceJob that stands: those that an API server refuses, and those that a user may make."""

from api_specs import ABSENT, NIGHT, Case

FROZEN: tuple[Case, ...] = (
    Case("another model", "model.source", "/models/other", "model"),
    Case("another engine argument", "model.engineArgs.dtype", "float32", "model"),
    Case("another input", "input.uri", "/data/input/other.jsonl", "input"),
    Case("another output", "output.uri", "/data/output/other/", "output"),
    Case("bad lines skipped from now on", "input.onInvalid", "Skip", "input"),
    Case("another number of tries", "retry.maxAttempts", 5, "retry"),
    Case("a bound of failed rows where there was none", "maxFailedRows", 9),
    Case("the rest of a job where there was none", "resubmitOf", "other"),
    Case("more memory", "resources.memory", "8Gi", "resources"),
    Case("a larger head", "head.cpu", "2", "head"),
    Case("an image where there was none", "image", "registry/image:2", "image"),
    Case("a label where there was none", "template.labels", {"team": "a"}, "template"),
    Case("no template where there was one", "template", ABSENT, "template"),
)
"""Changes of `SPEC` that an API server refuses once the object stands."""

EDITABLE: tuple[Case, ...] = (
    Case("a longer window", "completionWindow", "2d"),
    Case("more workers", "workers.max", 9),
    Case("a time to live", "ttlSecondsAfterFinished", 60),
    Case("a target", "targetCompletion", "2h"),
    Case("work at the latest safe hour", "schedule", "LatestSafe"),
    Case("cheaper hours of one that waits", "cheaperHours", [NIGHT]),
    Case("work past the window", "onDeadline", "Continue"),
    Case("a halt", "suspend", True),
    Case("a new start", "suspend", False),
    Case("an end", "cancel", True),
)
