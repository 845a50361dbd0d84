"""Stands for an interpreter that has upstream THOR: it says what upstream would, and copies prepared tables.

    python upstream_stand_in.py SERVE_SCRIPT check|serve

`STAND_IN` is a directory: `tables/` has the flat tables of every stage, `notes` gets a line for each thing that it did,
`fault` (if there) names what goes wrong: "raise STAGE", "die STAGE", "exit STAGE", "hang STAGE", "old".
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

TABLES = {
    "range_and_shift": ("projected_observations",),
    "cluster_and_link": ("clusters", "cluster_members"),
    "initial_orbit_determination": ("iod_orbits", "iod_orbit_members"),
    "orbit_determination": ("od_orbits", "od_orbit_members"),
    "merge_and_extend": ("recovered_orbits", "recovered_orbit_members"),
}
HOME = Path(os.environ.get("STAND_IN", "."))


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


def note(text: str) -> None:
    with (HOME / "notes").open("a") as notes:
        notes.write(f"{text}\n")


def fault() -> list[str]:
    path = HOME / "fault"
    return path.read_text().split() if path.exists() else []


def go_wrong(kind: str, stage: str) -> None:
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "exit":
        sys.stderr.write("the sky fell\n")
        sys.stderr.flush()
        os._exit(5)
    elif kind == "hang":
        time.sleep(600)
    raise ValueError(f"{stage} went wrong")


def do(command: dict) -> dict:
    stage, folder = command["stage"], Path(command["folder"])
    present = sorted(path.stem for path in (folder / "work").iterdir())
    config = json.loads((folder / "config.json").read_text())
    note(f"{stage} after {','.join(present) or 'nothing'} with max_processes {config['max_processes']}")
    if command["unmasked"]:
        note(f"unmasked {Path(command['unmasked']).stat().st_size > 0}")
    assert Path(command["observations"]).exists()
    sys.stderr.write(f"12:00:00 [INFO] thor - at work on {stage}\n")
    sys.stderr.flush()
    for kind, wanted in [fault()] if len(fault()) == 2 else []:
        if wanted == stage:
            go_wrong(kind, stage)
    say(event="stage", name=stage, rows=[3])
    (folder / "tables").mkdir(exist_ok=True)
    for name in TABLES[stage]:
        shutil.copy(HOME / "tables" / f"{name}.parquet", folder / "tables")
    (folder / "work" / f"{stage}.parquet").write_bytes(f"upstream's {stage}".encode())
    return {"tables": sorted(TABLES[stage]), "files": [f"{stage}.parquet"]}


def main() -> None:
    note(f"started {sys.argv[2]}")
    found: dict = {"thor": "2.1+stand.in", "adam-core": "0.5.5"}
    if fault() == ["old"]:
        found["config"] = {"max_processes": None, "vx_min": -0.1}
    say(event="found", **found)
    if sys.argv[2] == "check":
        return
    for line in sys.stdin:
        try:
            say(event="done", **do(json.loads(line)))
        except ValueError as error:
            say(event="failed", error=f"{type(error).__name__}: {error}")
    note("left")


if __name__ == "__main__":
    main()
