"""Which Python files go into a bundle, and which do not."""

import gencore
from gencore._python_sources import LARGEST_TOTAL, describe_sources
from gencore.bundle.reader import BundleReader
from gencore.process import MappedFile


def test_only_files_have_a_row(tmp_path):
    """Frozen modules and code from a string have none; one that is gone has a reason."""
    there, gone = tmp_path / "there.py", tmp_path / "gone.py"
    there.write_text("pass\n")

    rows = describe_sources(["<frozen runpy>", f"{tmp_path}/x/../there.py", str(gone)], [])

    assert [row.path for row in rows] == [str(there), str(gone)]
    assert rows[0].archive_paths == (str(there).lstrip("/"),)
    assert "No such file" in rows[1].reason
    assert rows[1].archive_paths == ()


def test_what_exceeds_the_limit_is_left_out(tmp_path):
    """The smaller files behind it are taken all the same."""
    names = ["first.py", "large.py", "last.py"]
    for name, size in zip(names, [1, LARGEST_TOTAL, 1], strict=True):
        (tmp_path / name).write_bytes(bytes(size))

    rows = describe_sources([str(tmp_path / name) for name in names], [])

    assert [bool(row.archive_paths) for row in rows] == [True, False, True]
    assert "16,777,216" in rows[1].reason


def test_the_interpreters_helper_for_gdb_is_taken(tmp_path):
    """Of the interpreter only; a library of somebody else may have one too."""
    for name in ("python3.11", "libother.so"):
        (tmp_path / f"{name}-gdb.py").write_text("pass\n")
    mapped = [MappedFile(path=str(tmp_path / name)) for name in ("python3.11", "libother.so")]

    (row,) = describe_sources([], mapped)

    assert row.path == f"{tmp_path}/python3.11-gdb.py"


def test_a_missing_source_is_a_warning(tmp_path):
    """The dump is complete: programs may be shipped without sources."""
    code = compile("report = pipeline.run()", str(tmp_path / "gone.py"), "exec")
    pipeline = gencore.Pipeline(directory=tmp_path, content="stacks", sources=True)
    names = {"pipeline": pipeline}
    exec(code, names)
    report = names["report"]

    assert report.result == "complete"
    (warning,) = (text for text in report.warnings if "gone.py" in text)
    assert "is left out: " in warning
    with BundleReader(report.path_of("archive")) as bundle:
        assert bundle.find(__file__)
        rows = {row["name"]: row for row in bundle.manifest()["files"]}
    assert rows[__file__.lstrip("/")]["media_type"] == "text/x-python"
