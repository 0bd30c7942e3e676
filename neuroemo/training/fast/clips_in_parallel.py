"""Work on the clips of a batch in as many threads as torch may use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def over_clips(work: Callable[[int, int], None], clips: int) -> None:
    """Call ``work(first, last)`` for ranges that cover ``clips`` clips, side by side in torch's number of threads.

    Results must not depend on the ranges: the kernels keep one sum per clip. An exception of a part is raised.
    """
    import torch

    threads = max(1, min(torch.get_num_threads(), clips))
    if threads == 1:
        work(0, clips)
        return
    bounds = [clips * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
