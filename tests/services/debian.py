"""Debian packages unpacked into a directory: no root, no package database touched, no service started.

apt's lists and cache are private ones, so that an ordinary user can update them and root takes the very same way.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_UNWANTED_LIBRARIES = ("libpython", "libperl", "libpam", "libc6")
"""Libraries of tools that a service script never calls, and the C library, which is the machine's own."""
_DOWNLOAD_SECONDS = 900


class PackagesUnavailableError(Exception):
    """The packages cannot be had here; the message says why and what to do."""


def unpack_with_dependencies(package: str, into: Path, *, is_wanted: Callable[[str], bool]) -> None:
    """Download `package`, what it depends on as far as wanted, and missing libraries; unpack all below `into`.

    Parameters
    ----------
    package : a name in the distribution of this machine.
    into : a directory that is made anew; beside it apt keeps its private lists and cache.
    is_wanted : tells by its name whether a dependency is unpacked even if this machine has it installed.

    Raises
    ------
    PackagesUnavailableError
        Without apt, without network, or if the distribution has no such package.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise PackagesUnavailableError(f"Cannot unpack {package}: there is no {tool} here, expected a Debian.")
    private = into.parent / "apt"
    apt = _apt_with_private_directories(private)
    updated = _run([*apt, "update"])
    names = [
        name
        for name in _dependencies(apt, package, updated)
        if name == package or is_wanted(name) or (_is_library(name) and not _is_installed(name))
    ]
    packages = private / "packages"
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir(parents=True)
    downloaded = _run([*apt, "download", *names], cwd=packages)
    if downloaded.returncode:
        raise PackagesUnavailableError(f"Cannot download {package} and its dependencies:\n{_tail(downloaded)}")
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for archive in sorted(packages.glob("*.deb")):
        subprocess.run(["dpkg", "-x", archive, into], check=True)
    shutil.rmtree(private)


def _apt_with_private_directories(private: Path) -> list[str]:
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (private / directory).mkdir(parents=True, exist_ok=True)
    # An empty package database: apt then names every dependency, also those that are installed on this machine.
    status = private / "status"
    status.touch()
    options = {
        "Dir::State": private / "state",
        "Dir::State::status": status,
        "Dir::Cache": private / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": 3,
        "APT::Install-Recommends": "false",
        # As root apt would otherwise fetch as user _apt, who may not enter this directory.
        "APT::Sandbox::User": "root",
    }
    return ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]


@contextlib.contextmanager
def complete_if_it_runs(unpacked: Path) -> Iterator[None]:
    """Mark what was unpacked as complete, unless the block finds that it does not run here."""
    (unpacked / "complete").touch()
    try:
        yield
    except PackagesUnavailableError:
        (unpacked / "complete").unlink()
        raise


def _dependencies(apt: Sequence[str], package: str, updated: "subprocess.CompletedProcess[str]") -> list[str]:
    """Names of all packages that `package` needs, itself included, from `--print-uris`: 'uri' name_version_arch.deb."""
    planned = _run([*apt, "--yes", "--print-uris", "install", package])
    if planned.returncode:
        # A third party's list that can't be had fails `update` without doing harm: only this here counts.
        raise PackagesUnavailableError(
            f"Cannot find package {package} of this distribution: check the network and the lines of "
            f"/etc/apt/sources.list.\napt-get update said:\n{_tail(updated)}\napt-get install said:\n{_tail(planned)}"
        )
    lines = (line.split() for line in planned.stdout.splitlines() if line.startswith("'"))
    return [words[1].split("_")[0] for words in lines]


def _is_library(name: str) -> bool:
    return (name.startswith("lib") or name == "zlib1g") and not name.startswith(_UNWANTED_LIBRARIES)


def _is_installed(name: str) -> bool:
    return "ok installed" in _run(["dpkg-query", "--show", "--showformat=${Status}", name]).stdout


def _run(command: Sequence[str], cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS
    )


def _tail(process: "subprocess.CompletedProcess[str]") -> str:
    return "\n".join((process.stdout + process.stderr).splitlines()[-12:])
