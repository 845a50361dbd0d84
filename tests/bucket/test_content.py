"""Objects too large for memory: the unnamed file that they are written from and read into."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.bucket.content import ScratchFile, blocks_of, sha256_of
from tasks.errors import ScratchFileError

BODY = random.Random(3).randbytes(300_000)


@pytest.fixture
def filled():
    file = ScratchFile()
    for first in range(0, len(BODY), 7_000):
        file.write(BODY[first : first + 7_000])
    return file


def test_what_was_written_in_blocks_is_read_anywhere_and_summed_up(filled):
    assert (filled.size, filled.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert filled.read_at(1234, 50) == BODY[1234:1284]
    assert b"".join(blocks_of(filled, 4096)) == BODY
    assert sha256_of(filled) == sha256_of(BODY) == filled.sha256


def test_several_read_it_each_at_its_own_place(filled):
    first, second = filled.opened(), filled.opened()

    assert first.read(10) == BODY[:10]
    assert second.read() == BODY
    assert first.read(10) == BODY[10:20]
    assert (first.seek(-5, os.SEEK_END), first.read()) == (len(BODY) - 5, BODY[-5:])


def test_threads_read_it_side_by_side(filled):
    found = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: b"".join(blocks_of(filled, 999))}))
        for name in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(found.values()) == {BODY}


def test_it_can_be_begun_again(filled):
    filled.empty()
    filled.write(b"other")

    assert (b"".join(blocks_of(filled)), filled.sha256) == (b"other", hashlib.sha256(b"other").hexdigest())


def test_it_has_no_name_so_that_kill_nine_leaves_nothing(tmp_path):
    code = (
        "import sys, pathlib; from tasks.bucket.content import ScratchFile;"
        "file = ScratchFile(pathlib.Path(sys.argv[1])); file.write(b'x' * 1000); print(file.size, flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"1000\n"
        while_it_runs = list(tmp_path.iterdir())
        process.send_signal(signal.SIGKILL)

    assert while_it_runs == list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_a_full_disk_is_told_with_what_to_do(filled):
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, filled._descriptor)
    os.close(full)

    with pytest.raises(ScratchFileError, match=r"Cannot keep a copy .* No space left on device\. Make room, or"):
        filled.write(b"more")


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ScratchFileError, match="set TMPDIR"):
        ScratchFile(tmp_path / "nowhere")
