"""The cases: a file of the corpus and mutations, both chosen by a seed."""

import json
import random

import attrs
from tests.fuzzing import bundles, mutations
from tests.fuzzing.seeds import CORPUS

BLIND = 0.1
"""The share of cases whose bytes are changed without regard to their structure."""
KINDS = ("bundle", "bundle", "bundle", "core", "core", "manifest", "table", "header", "image")


@attrs.frozen
class Case:
    """One input for the readers."""

    seed: int
    kind: str
    origin: str
    """The file of the corpus."""
    data: bytes


def make(seed, kinds=KINDS):
    """Return the case of a seed; one of *kinds*."""
    rng = random.Random(seed)
    kind = rng.choice(kinds)
    origin = rng.choice(sorted((CORPUS / f"{kind}s").iterdir()))
    data = origin.read_bytes()
    mutate = mutations.blind if rng.random() < BLIND else STRUCTURED[kind]
    for _ in range(rng.choice((1, 1, 1, 2))):
        try:
            data = mutate(rng, data)
        except Exception:  # an earlier mutation left nothing to take apart
            data = mutations.blind(rng, data)
    return Case(seed, kind, f"{kind}/{origin.name}", data)


def _json(rng, data):
    return bundles.as_json(mutations.json_value(rng, json.loads(data)))


STRUCTURED = {
    "bundle": mutations.bundle,
    "core": mutations.elf,
    "image": mutations.elf,
    "manifest": mutations.manifest,
    "table": _json,
    "header": mutations.header,
}
