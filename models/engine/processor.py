"""What a processor is called."""

import platform
from functools import cache
from pathlib import Path

VECTOR_UNITS = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""By the flag that a processor tells them with, the widest first."""


@cache
def processor_name() -> str:
    """This machine's CPU."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        told = processor_in(listing.read_text(encoding="utf-8", errors="replace"))
        if told is not None:
            return told
    return platform.processor() or platform.machine()


def processor_in(listing: str) -> str | None:
    """The first processor of a /proc/cpuinfo, or None: its name, family and model, and its widest vector units, which
    decide what kernels torch takes. The name alone may stand for many: a virtual machine's is often the maker's.
    """
    first = listing.split("\n\n", 1)[0]
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    if "model name" not in told:
        return None
    numbers = " ".join(f"{name.removeprefix('cpu ')} {told[name]}" for name in ("cpu family", "model") if name in told)
    units = next((named for flag, named in VECTOR_UNITS.items() if flag in told.get("flags", "").split()), "")
    return ", ".join(filter(None, (told["model name"], numbers, units)))
