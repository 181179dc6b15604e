"""Says which code comes with gencore: that returns, and is called without being watched."""

from typing import Final

from gencore._runtime.application_errors import reraise_if_from_handler

__all__ = ["is_own"]

_OWN: Final = {"gencore", "gencore_backends", "gencore_collectors"}


def is_own(code: object) -> bool:
    """Return whether a class or function is gencore's own, by its module.

    What came by an entry point is known by its distribution (``built_in``) without its code being
    asked; this is for what is reached only as an object: a method, a sink, a core. A method that a
    third party's class inherits from one of gencore's is; one that it overrides
    is not.
    """
    try:
        module = getattr(code, "__module__", None)
    except Exception as error:  # a metaclass may have code there; ours has not
        reraise_if_from_handler(error)
        return False
    return isinstance(module, str) and module.partition(".")[0] in _OWN
