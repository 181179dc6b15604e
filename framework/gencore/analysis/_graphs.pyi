import numpy as np
from numpy.typing import NDArray

def group(
    sources: NDArray[np.int32],
    targets: NDArray[np.int32],
    offsets: NDArray[np.int64],
    grouped: NDArray[np.int32],
) -> None: ...
def breadth_first(
    offsets: NDArray[np.int64], targets: NDArray[np.int32], root: int, parents: NDArray[np.int32]
) -> None: ...
def dominators(
    offsets: NDArray[np.int64],
    targets: NDArray[np.int32],
    reverse_offsets: NDArray[np.int64],
    reverse_targets: NDArray[np.int32],
    root: int,
    idoms: NDArray[np.int32],
    order: NDArray[np.int32],
) -> None: ...
def add_up(
    idoms: NDArray[np.int32], order: NDArray[np.int32], totals: NDArray[np.int64]
) -> None: ...
