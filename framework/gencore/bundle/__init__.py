"""The bundle: writing it, and reading one that nobody vouches for.

`writer` packs; `reader` opens single members, `extraction` unpacks, `verification` checks all of
it, and `cache` keeps what debuggers work on. They share `stream`, the bytes and tar headers, and
`manifest`, which parses one of which nothing is certain. `contents` is the table of contents that
is written and read. Each is imported where it is needed: a process that is dumped needs `writer`
only.
"""
