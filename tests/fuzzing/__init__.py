"""Fuzzes the readers of bundles, cores and manifests: ``python -m tests.fuzzing --help``.

Each case is a file of the corpus, mutated as its seed says and nothing else, so that a finding is
repeated by its seed alone. docs/explanation/untrusted-files.md has the rule that is checked.
"""
