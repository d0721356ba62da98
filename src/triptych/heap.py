"""What the C library does with memory that is free again."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
TOP, BLOCK = 1 << 30, 32 << 20  # bytes: free ones that stay in the heap, and the largest block in it


def keep_memory() -> None:
    """Keep what a training step gives back for the next one, where the C library is glibc.

    By its defaults glibc returns a step's memory to the system, which clears every page
    of it for the next step: a third of the time of small stacked networks. The process
    holds what its largest step held, as before at that step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, TOP)
        mallopt(MMAP_THRESHOLD, BLOCK)
