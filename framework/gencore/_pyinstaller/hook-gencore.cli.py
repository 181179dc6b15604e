"""What PyInstaller does not see in gencore.cli: the commands, which are imported by name."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("gencore.cli")
