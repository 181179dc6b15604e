import numpy as np
from numpy.typing import NDArray

def used_blocks(
    core: NDArray[np.uint64],
    addresses: NDArray[np.uint64],
    places: NDArray[np.int64],
    used: NDArray[np.int64],
    carved: NDArray[np.int64],
    free: NDArray[np.uint64],
    size: int,
    block_addresses: NDArray[np.uint64],
    block_places: NDArray[np.int64],
    /,
) -> int: ...
def rows_of_blocks(
    core: NDArray[np.uint64],
    places: NDArray[np.int64],
    slots: NDArray[np.int32],
    types: NDArray[np.uint64],
    preheaders: NDArray[np.int64],
    smallest: NDArray[np.int64],
    some: int,
    none: int,
    in_front: int,
    size: int,
    rows: NDArray[np.int32],
    /,
) -> None: ...
def rows_of_words(
    words: NDArray[np.uint64],
    slots: NDArray[np.int32],
    types: NDArray[np.uint64],
    rows: NDArray[np.int32],
    /,
) -> None: ...
def places_of(
    core: NDArray[np.uint64],
    addresses: NDArray[np.uint64],
    regions: NDArray[np.int32],
    tables: NDArray[np.int32],
    places: NDArray[np.int64],
    /,
) -> None: ...
def index_objects(
    addresses: NDArray[np.uint64],
    directory: NDArray[np.int32],
    pages: NDArray[np.int32],
    bits: NDArray[np.uint64],
    ranks: NDArray[np.int32],
    numbers: NDArray[np.int32],
    /,
) -> None: ...
def numbers_of(
    words: NDArray[np.uint64],
    directory: NDArray[np.int32],
    pages: NDArray[np.int32],
    bits: NDArray[np.uint64],
    ranks: NDArray[np.int32],
    numbers: NDArray[np.int32],
    places: NDArray[np.int64],
    found: NDArray[np.int32],
    /,
) -> int: ...
def references(
    core: NDArray[np.uint64],
    regions: NDArray[np.int32],
    tables: NDArray[np.int32],
    directory: NDArray[np.int32],
    pages: NDArray[np.int32],
    bits: NDArray[np.uint64],
    ranks: NDArray[np.int32],
    numbers: NDArray[np.int32],
    owners: NDArray[np.int32],
    begins: NDArray[np.uint64],
    counts: NDArray[np.int64],
    stride: int,
    width: int,
    tags: int,
    row: int,
    word: int,
    sources: NDArray[np.int32],
    targets: NDArray[np.int32],
    rest: NDArray[np.int64],
    /,
) -> tuple[int, int, int, int]: ...
