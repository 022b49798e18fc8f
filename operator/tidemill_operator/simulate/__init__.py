"""`tidemill simulate`: the operator's own planning code under virtual time, against a trace of jobs and endpoints.

It sits beside the shell and above `core`: it feeds `core` with what the operator would have seen, and plays the cluster
that the decisions work on. Refuses to decide anything itself, and to tell the law what only the trace knows.
"""
