import numpy as np
from numpy.typing import NDArray

def count(nodes: NDArray[np.int32], counts: NDArray[np.uint32]) -> None: ...
def count_others(
    nodes: NDArray[np.int32], left_out: NDArray[np.bool_], counts: NDArray[np.uint32]
) -> None: ...
def distribute(
    sources: NDArray[np.int32],
    targets: NDArray[np.int32],
    ends: NDArray[np.uint32],
    grouped: NDArray[np.int32],
) -> None: ...
def turn(
    offsets: NDArray[np.uint32],
    targets: NDArray[np.int32],
    reverse_offsets: NDArray[np.uint32],
    reverse_targets: NDArray[np.int32],
) -> None: ...
def reach(
    offsets: NDArray[np.uint32], targets: NDArray[np.int32], root: int, reached: NDArray[np.bool_]
) -> None: ...
def breadth_first(
    offsets: NDArray[np.uint32], targets: NDArray[np.int32], root: int, parents: NDArray[np.int32]
) -> None: ...
def dominators(
    offsets: NDArray[np.uint32],
    targets: NDArray[np.int32],
    reverse_offsets: NDArray[np.uint32],
    reverse_targets: NDArray[np.int32],
    root: int,
    idoms: NDArray[np.int32],
    order: NDArray[np.int32],
) -> None: ...
def add_up(
    idoms: NDArray[np.int32], order: NDArray[np.int32], totals: NDArray[np.int64]
) -> None: ...
