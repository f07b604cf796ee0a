"""Kinds of noise to put into a log on purpose: arrays in, arrays out, no files.

`kinds.plan` says what a kind changes in an `openlog.OpenLog`; `apply.apply` makes the changed log.
A new kind is one file here and one entry in the table of `kinds`.
"""
