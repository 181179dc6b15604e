"""Which paths the members of a bundle have: none twice, and no file where another's folder is."""

from gencore.bundle.contents import folders_of

__all__ = ["Places"]


class Places:
    """The paths that are taken: those given, and each that `take` was true for."""

    def __init__(self, *paths: str) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        for path in paths:
            self.take(path)

    def take(self, path: str) -> bool:
        """Take a path for a file; return False if another file has it, or prevents it."""
        if path in self:
            return False
        self._files.add(path)
        self._folders.update(folders_of(path))
        return True

    def __contains__(self, path: str) -> bool:
        """Whether no other file can have this path."""
        taken = path in self._files or path in self._folders
        return taken or any(folder in self._files for folder in folders_of(path))
