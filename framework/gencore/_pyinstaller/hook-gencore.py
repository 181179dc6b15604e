"""What PyInstaller does not see in gencore: plug-ins, found by their entry points, and data.

Plug-ins of other distributions are packed too if they are installed.
"""

from PyInstaller.utils.hooks import collect_data_files, collect_entry_point, copy_metadata

datas = [*copy_metadata("gencore", recursive=True), *collect_data_files("gencore")]
hiddenimports = []
families = ("backends", "collectors", "destinations", "filters", "listeners", "agents")
for group in (f"gencore.{family}" for family in families):
    metadata, modules = collect_entry_point(group)
    datas += metadata
    hiddenimports += modules
    for package in {module.partition(".")[0] for module in modules}:
        datas += collect_data_files(package)
