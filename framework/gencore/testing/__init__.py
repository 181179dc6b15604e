"""Contract suites for authors of plug-ins, and a backend that works on every platform.

A suite is subclassed with one fixture, in a test file of the plug-in's own project::

    class TestUptime(CollectorContract):
        @pytest.fixture
        def collector(self):
            return Uptime

pytest comes with ``pip install 'gencore[testing]'``. `SimulatedBackend` does without it.
"""

from typing import TYPE_CHECKING, Any

from gencore.testing.simulated import SimulatedBackend

if TYPE_CHECKING:
    from gencore.testing.backend_contract import BackendContract
    from gencore.testing.collector_contract import CollectorContract
    from gencore.testing.destination_contract import DestinationContract
    from gencore.testing.filter_contract import FilterContract

__all__ = [
    "BackendContract",
    "CollectorContract",
    "DestinationContract",
    "FilterContract",
    "SimulatedBackend",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gencore.testing' has no attribute {name!r}")
    from importlib import import_module

    import pytest

    module = f"gencore.testing.{name.removesuffix('Contract').lower()}_contract"
    pytest.register_assert_rewrite("gencore.testing.rules", module)  # failures show their values
    return getattr(import_module(module), name)
