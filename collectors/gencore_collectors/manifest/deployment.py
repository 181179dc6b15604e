"""The sections ``k8s``, ``service``, ``deployment``, ``resource``: what operators call it.

All of it comes from environment variables: those that Kubernetes' downward API conventionally
sets, and those of OpenTelemetry's SDK specification.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["deployment", "kubernetes", "resource", "service"]

_MAX_VALUE: Final = 1024
"""Characters; there is no limit on what a variable may hold."""
_MAX_ATTRIBUTES: Final = 128


def kubernetes(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return ``k8s``, or None if nothing of it is known."""
    names = ("POD_NAME", "POD_NAMESPACE", "POD_UID", "NODE_NAME", "CONTAINER_NAME")
    values = {name: _cut(environ.get(name)) for name in names}
    if not any(values.values()):
        return None
    return {
        "namespace": {"name": values["POD_NAMESPACE"]},
        "pod": {"name": values["POD_NAME"], "uid": values["POD_UID"]},
        "node": {"name": values["NODE_NAME"]},
        "container": {"name": values["CONTAINER_NAME"]},
    }


def service(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return ``service``, or None if nothing of it is known."""
    given = _resource_attributes(environ)
    name = _cut(environ.get("OTEL_SERVICE_NAME")) or given.get("service.name")
    others = ("service.namespace", "service.version", "service.instance.id")
    namespace, version, instance = map(given.get, others)
    if not any((name, namespace, version, instance)):
        return None
    return {
        "name": name,
        "namespace": namespace,
        "version": version,
        "instance": {"id": instance},
    }


def deployment(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return ``deployment``, or None if it is not known. The second name is the older one."""
    given = _resource_attributes(environ)
    name = given.get("deployment.environment.name") or given.get("deployment.environment")
    return {"environment": {"name": name}} if name else None


def resource(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return ``resource``: all of OpenTelemetry's resource attributes; None if there are none."""
    attributes = _resource_attributes(environ).items()
    given = [(key[:_MAX_VALUE], value) for key, value in attributes if key]
    return {"attributes": dict(given[:_MAX_ATTRIBUTES])} if given else None


def _resource_attributes(environ: Mapping[str, str]) -> dict[str, str | None]:
    from urllib.parse import unquote

    pairs = environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    split = (pair.partition("=") for pair in pairs)
    return {key.strip(): _cut(unquote(value.strip())) for key, _, value in split}


def _cut(value: str | None) -> str | None:
    return value[:_MAX_VALUE] if value else None
