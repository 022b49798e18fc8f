"""The demo's one error: what a user has to mend."""


class DemoError(Exception):
    """What the user has to mend before the demo can go on; its text is all that is shown."""
