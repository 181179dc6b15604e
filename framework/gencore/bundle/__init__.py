"""The bundle: writing it, and reading one that nobody vouches for.

`writer` packs, `reader` opens single members, `extraction` unpacks, `verification` checks all of
it; `contents` is the table of contents that the first writes and the second reads, and `field`
reads a manifest of which nothing is certain. Each is imported where it is needed: a process that
is dumped needs the first only.
"""
