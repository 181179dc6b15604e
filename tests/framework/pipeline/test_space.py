"""The space that a dump may need, compared with what is free."""

import attrs
import pytest

from gencore import OutputError, UsageError
from gencore._pipeline.pipeline import Pipeline
from gencore._pipeline.space import check_space
from gencore.output import Output
from gencore.testing import SimulatedBackend
from gencore.verdict import Verdict

CORE = 90 << 20


def need(tmp_path, monkeypatch, collectors, free, **how):
    """Return the warnings of a check of that much free space."""
    monkeypatch.setattr(Output, "free", free)
    participants = Pipeline(
        backend=SimulatedBackend(), collectors=collectors
    )._selection.make_participants(lambda *_: None)
    with Output(tmp_path, "dump") as output:
        return check_space(output, participants, CORE, **{"streams": True, "force": False, **how})


@pytest.mark.parametrize(
    ("collectors", "streams", "limits"),
    [
        (["manifest"], True, (0, 0)),
        (["manifest", "archive"], True, (CORE // 3, CORE)),
        (["raw"], True, (CORE, CORE)),
        (["raw", "archive"], True, (CORE // 3 + CORE, 2 * CORE)),
        (["manifest"], False, (CORE, CORE)),
        (["archive"], False, (CORE // 3 + CORE, 2 * CORE)),
    ],
)
def test_what_will_be_written_decides(tmp_path, monkeypatch, collectors, streams, limits):
    """A core that is kept, one that the backend makes on the way, a bundle that is compressed."""
    usual, most = limits
    check = [tmp_path, monkeypatch, collectors]

    assert need(*check, most, streams=streams) == []
    if most > usual:
        assert "may need up to" in need(*check, most - 1, streams=streams)[0]
        assert "may need up to" in need(*check, usual, streams=streams)[0]
    if usual:
        with pytest.raises(OutputError, match=r"may need .* MiB are free.*force=True"):
            need(*check, usual - 1, streams=streams)
        assert "may need up to" in need(*check, 0, streams=streams, force=True)[0]


def test_space_that_the_file_system_does_not_tell_is_not_checked(tmp_path, monkeypatch):
    """As with FUSE file systems that say that they have no blocks at all."""
    assert need(tmp_path, monkeypatch, ["raw"], None) == []


class Large(SimulatedBackend):
    """Says that its core is larger than any disk."""

    def probe(self, _request):
        """Say so."""
        return attrs.evolve(Verdict.yes(), core_size=1 << 62)


def test_force_goes_on_and_leaves_a_warning(tmp_path):
    """From an argument or a mapping; the check before the pause says no without it."""
    for refused in (Pipeline.run, Pipeline.check):
        with pytest.raises(OutputError, match="force=True"):
            refused(Pipeline(backend=Large(), collectors=["raw"], directory=tmp_path))

    pipeline = Pipeline(backend=Large(), collectors=["raw"], directory=tmp_path, force=True)
    pipeline.check()
    report = pipeline.run()

    assert report.result == "complete"
    assert any("may need up to" in warning for warning in report.warnings)
    assert Pipeline.from_mapping({"force": True})._request.force
    with pytest.raises(UsageError, match="force"):
        Pipeline(force="yes")
