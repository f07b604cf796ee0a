"""What the C library does with memory that is given back."""

import ctypes

LARGEST_KEPT = 32 * 2**20
"""Bytes of a block: the most that glibc takes."""
MOST_KEPT = 2**30
"""Bytes free at the end of the heap."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""The parameters' numbers in glibc's <malloc.h>."""


def keep_freed() -> None:
    """Have this process keep the memory of a step's tensors for the next step's.

    glibc gives much of it back to the system, and each page that the next step touches is a fault: on a log with a
    large item table and short histories .5 to 4.5 ms of system time a step. With another C library nothing happens.
    """
    set_parameter = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_parameter is not None:
        set_parameter(_MMAP_THRESHOLD, LARGEST_KEPT)
        set_parameter(_TRIM_THRESHOLD, MOST_KEPT)
