"""`python -m workers.health DIRECTORY`: whether the workers of this machine are well. For probes of containers.

It reads the notes that workers leave below THOR_HOME/health, a small file each. It imports nothing of ours but the
limits, asks neither queue nor bucket, and writes nothing: a probe may run every few seconds.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from workers.reach import HUNG_SECONDS, UNREACHED_SECONDS


def faults(folder: Path, *, now: float) -> Iterator[str]:
    """Say what is wrong with the workers that leave their notes in that directory; nothing when all are well.

    Parameters
    ----------
    now : `time.monotonic()`, which all processes of a machine share.
    """
    notes = {int(path.stem): path for path in folder.glob("*.json") if path.stem.isdecimal()}
    alive = [pid for pid in sorted(notes) if Path(f"/proc/{pid}").exists()]
    if not alive:
        yield f"No worker runs here: there is no note of a living one in {str(folder)!r}."
    for pid in alive:
        note = json.loads(notes[pid].read_text())
        if now - note["at"] > HUNG_SECONDS:
            yield f"Worker {pid} hangs: its last sign of life is {now - note['at']:.0f} s old."
        for service, seconds in note["silent_seconds"].items():
            if seconds > UNREACHED_SECONDS:
                yield f"Worker {pid} has not reached its {service} for {seconds:.0f} s."


def main() -> int:
    """Print what is wrong; return 0 when nothing is, else 1."""
    if len(sys.argv) != 2:  # noqa: PLR2004 (the name of the program and one argument)
        sys.stderr.write("usage: python -m workers.health DIRECTORY   (THOR_HOME/health)\n")
        return os.EX_USAGE
    found = list(faults(Path(sys.argv[1]), now=time.monotonic()))
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
