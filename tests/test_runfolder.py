"""Files of a run are replaced whole, together, and by one process at a time."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pima_physics.atomic import PART, atomic_path, write_text
from pima_physics.errors import InputError, PimaError
from pima_physics.results_sums import verify, write_sums
from pima_physics.runfolder import FolderInUseError, RunFolder


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(PART)]


def test_a_file_is_replaced_only_when_the_writer_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "results.nc"
    write_text(target, "old")
    with pytest.raises(ValueError, match="half way"), atomic_path(target) as part:
        assert part.suffix == ".nc"
        part.write_text("ne")
        raise ValueError("half way")
    assert target.read_text() == "old"
    write_text(target, "new")
    assert target.read_text() == "new"
    assert not leftovers(tmp_path)


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from pima_physics.runfolder import RunFolder
with RunFolder(Path(sys.argv[1])).locked() as run, run.staged() as stage:
    stage.results.write_text("new, but not all of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_writer_leaves_the_old_files_and_no_lock(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.locked():
        write_text(run.results, "old")
    code = [sys.executable, "-c", KILLED_WHILE_WRITING, str(run.path)]
    assert subprocess.run(code, timeout=60).returncode == -signal.SIGKILL
    assert run.results.read_text() == "old"
    assert leftovers(run.path)
    with run.locked():
        assert not leftovers(run.path)
    assert sorted(path.name for path in run.path.iterdir()) == ["results.nc"]


HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from pima_physics.runfolder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_two_fits_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(FolderInUseError, match=f"process {process.pid} on"), run.locked():
        pytest.fail("two holders of one lock")
    process.communicate("", timeout=60)
    with run.locked():
        assert run.path.is_dir()
    assert not (run.path / ".lock").exists()


def test_staged_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_text(run.results, "old results")
    write_text(run.checkpoint / "a", "old a")
    with pytest.raises(RuntimeError), run.staged() as stage:
        write_text(stage.results, "new results")
        raise RuntimeError
    assert run.results.read_text() == "old results"
    with run.staged() as stage:
        write_text(stage.results, "new results")
        write_text(stage.checkpoint / "b", "new b")
        assert run.results.read_text() == "old results"
    assert run.results.read_text() == "new results"
    assert sorted(path.name for path in run.checkpoint.iterdir()) == ["a", "b"]
    assert not leftovers(tmp_path)


def test_checking_a_folder_creates_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a" / "b")
    run.check_usable()
    assert not run.finished
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="a file at"):
        RunFolder(tmp_path / "a" / "b").check_usable()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="no permission"):
            RunFolder(tmp_path / "run").check_usable()
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    target = tmp_path / "results.nc"
    write_text(target, "old")
    with pytest.raises(PimaError, match="free some space") as caught, atomic_path(target) as part:
        part.symlink_to("/dev/full")
        part.write_text("new")
    assert "unchanged" in str(caught.value)
    assert target.read_text() == "old"


def test_checksums_are_as_sha256sum_writes_them(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for file in (run.model, run.results):
        write_text(file, file.name)
    write_sums(run, (run.model, run.results))
    for line in run.sums.read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(name.encode()).hexdigest() == digest
    verify(run)
    write_text(run.results, "results.nd")
    with pytest.raises(InputError, match=r"damaged or changed since the fit: results\.nc"):
        verify(run)
    run.sums.unlink()
    verify(run)  # an older run


@pytest.mark.parametrize(
    "text", ["", "no checksum", "\x00\xff", "0" * 64 + "  model.safetensors\n"]
)
def test_damaged_checksums_are_named(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path)
    write_text(run.model, "model")
    write_text(run.results, "results")
    run.sums.write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"SHA256SUMS"):
        verify(run)


def test_new_checksums_never_stand_beside_old_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the move into place is cut, no checksum contradicts a file."""
    real, run = os.replace, RunFolder(tmp_path)
    for cut in range(4):
        for file in (run.model, run.results):
            write_text(file, f"old {file.name}")
        write_sums(run, (run.model, run.results))
        moved: list[str] = []

        def stop(source: Path, goal: Path, cut: int = cut, moved: list[str] = moved) -> None:
            if Path(goal).parent == tmp_path and not Path(goal).name.startswith(PART):
                if len(moved) == cut:
                    raise KeyboardInterrupt
                moved.append(Path(goal).name)
            real(source, goal)

        with pytest.raises(KeyboardInterrupt), run.staged() as stage:
            for file in (stage.model, stage.results):
                write_text(file, f"new {file.name}")
            write_sums(stage, (stage.model, stage.results))
            monkeypatch.setattr(os, "replace", stop)
            if cut == 3:
                raise KeyboardInterrupt
        monkeypatch.setattr(os, "replace", real)
        verify(run)
        assert cut == 3 or len(moved) == cut


def mounted(folder: Path, size: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "200k"):
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_keeps_the_old_results(small_disk: Path) -> None:
    run = RunFolder(small_disk / "run")
    with run.locked(), run.staged() as stage:
        write_text(stage.results, "old")
    with pytest.raises(PimaError, match="free some space"), run.locked(), run.staged() as stage:
        write_text(stage.results, "new")
        write_text(stage.model, "x" * 400_000)
    assert run.results.read_text() == "old"
    assert not leftovers(run.path)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "200k"):
        pytest.skip("a tmpfs cannot be mounted here")
    (folder / "run").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_disk_is_named(read_only: Path) -> None:
    for name in ("run", "new"):
        with pytest.raises(InputError, match="--output"), RunFolder(read_only / name).locked():
            pytest.fail("written to a read-only disk")
