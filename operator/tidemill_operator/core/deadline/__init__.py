"""The deadline law: how many workers a job needs, when it may wait, when it ends, and who goes first. Pure arithmetic.

Everything here counts in floats: moments are seconds since the epoch, spans seconds, rates rows a second. The rules of
a job convert at their edge, and `tidemill simulate` runs the very same code under virtual time. Knows no clock, no
Kubernetes and no status; refuses to remember: what the past says comes in as a measure.
"""
