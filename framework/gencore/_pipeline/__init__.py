"""A dump from its request to its report.

The modules in the order of time: `pipeline` begins; `selection` makes the `participant` of each
collector; `room` and `space` look whether the process and the disk have enough; `instant` is the
pause; `worker` runs the `stages` after it, which are all that is left; `outcome` sums up. `dump`
is what the caller holds meanwhile.
"""
