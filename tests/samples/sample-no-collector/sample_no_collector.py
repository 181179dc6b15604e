"""Names what is no subclass of the contract."""


class NoCollector:
    """Looks like one."""

    name = "no-collector"
    api_version = (1, 0)
