"""Needs a module that is not there."""

from no_such_module import Broken  # noqa: F401
