"""The section ``container``: which container the process is in, and what it may use there."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gencore.target import Target
from gencore_collectors.manifest.kernel_text import number, read

__all__ = ["section"]

_ROOT: Final = Path("/")
_MARKERS: Final = {".dockerenv": "docker", "run/.containerenv": "podman"}
_IN_CGROUP: Final = re.compile(r"\b(docker|libpod|crio|cri-containerd|lxc|kubepods)\b")
_NAMES: Final = {"libpod": "podman", "cri-containerd": "containerd", "kubepods": None}
_ID: Final = re.compile(r"\b[0-9a-f]{64}\b")
_DOCKER_MOUNT: Final = re.compile(r"/docker/containers/([0-9a-f]{64})/")


def section(
    target: Target, environ: Mapping[str, str], top: Path = _ROOT
) -> dict[str, Any] | None:
    """Return it, or None outside a container. *top* is where /proc, /sys and /run are."""
    root = top if target.other is None else Path(target.process_file("root"))
    cgroups = read(_file(target, "cgroup", top)) or ""
    inside, runtime = _runtime(root, cgroups, environ)
    if not inside:
        return None
    path = next((row[3:] for row in cgroups.splitlines() if row.startswith("0::/")), None)
    limits = _limits(root, path or "/")
    return {
        "runtime": runtime,
        "id": _identifier(cgroups, read(_file(target, "mountinfo", top)) or ""),
        "cgroup": path,
        "memory": {
            "max_bytes": number(read(limits / "memory.max")),
            "current_bytes": number(read(limits / "memory.current")),
        },
        "cpu": {"max": read(limits / "cpu.max")},
        "pids": {"max": number(read(limits / "pids.max"))},
    }


def _runtime(root: Path, cgroups: str, environ: Mapping[str, str]) -> tuple[bool, str | None]:
    """Return whether this is a container, and of which runtime, if that can be told."""
    for marker, runtime in _MARKERS.items():
        if os.path.exists(root / marker):  # noqa: PTH110 - Path.exists() may raise
            return True, runtime
    named = read(root / "run/systemd/container") or environ.get("container")
    if named:
        return True, named
    match = _IN_CGROUP.search(cgroups)
    if match:
        return True, _NAMES.get(match[1], match[1])
    return "KUBERNETES_SERVICE_HOST" in environ, None


def _file(target: Target, name: str, top: Path) -> Path:
    return top / target.process_file(name).lstrip("/")


def _identifier(cgroups: str, mounts: str) -> str | None:
    """Look into the cgroup's path; where a namespace hides it, a mount of docker's tells."""
    in_path = _ID.findall(cgroups)
    if in_path:
        return str(in_path[-1])
    mount = _DOCKER_MOUNT.search(mounts)
    return mount[1] if mount else None


def _limits(root: Path, path: str) -> Path:
    """Return the folder of the process's cgroup; inside a namespace it is the top one."""
    top = root / "sys/fs/cgroup"
    own = top / path.lstrip("/")
    return own if read(own / "memory.max") is not None else top
