"""Unpacking: what is taken, what is refused, and that a refusal leaves nothing behind."""

import gzip
import io
import os
import shutil
import stat
import tarfile

import pytest

from eokeras.ben_ge.unpacking import ArchiveError, unpack
from eokeras.errors import TargetExistsError


def member(name, data=b"", kind=tarfile.REGTYPE, **changes):
    """A header and the bytes that follow it."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def pack(path, *members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w:gz", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def unpacked(archive, directory, most_files=20, most_bytes=10_000, **options):
    unpack(archive, directory, most_files=most_files, most_bytes=most_bytes, **options)
    return {str(path.relative_to(directory)): path for path in directory.rglob("*")}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_plain_files_and_directories(tmp_path, form):
    archive = pack(
        tmp_path / "a.tar.gz",
        member("./", kind=tarfile.DIRTYPE),
        member("./tree", kind=tarfile.DIRTYPE),
        member("./tree/a.csv", b"x" * 512),  # whole blocks and parts of one
        member("tree/b/c.csv", b"y" * 700),  # a directory without a member of its own
        member("tree/empty.csv"),
        form=form,
    )
    progress = []
    found = unpacked(archive, tmp_path / "out", progress=progress.append)
    files = {name: path.read_bytes() for name, path in found.items() if path.is_file()}
    assert files == {"tree/a.csv": b"x" * 512, "tree/b/c.csv": b"y" * 700, "tree/empty.csv": b""}
    assert len(progress) == 5
    assert progress[-1] == archive.stat().st_size


def test_long_names_in_extended_headers(tmp_path):
    name = "tree/" + "n" * 150 + ".csv"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        archive = pack(tmp_path / f"{form}.tar.gz", member(name, b"1"), form=form)
        assert name in unpacked(archive, tmp_path / f"out-{form}")


def test_modes_owners_and_times_have_no_effect(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", member("run.sh", b"x", mode=0o6777, uid=12345, mtime=1))
    status = unpacked(archive, tmp_path / "out")["run.sh"].stat()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(status.st_mode) == 0o666 & ~mask
    assert status.st_uid == os.getuid()
    assert status.st_mtime > 1_000_000_000


HOSTILE = {
    "absolute": ([member("/tmp/escaped-from-archive", b"x")], "lead to a place inside it"),
    "parent": ([member("../escaped", b"x")], "lead to a place inside it"),
    "parent-within": ([member("tree/../../escaped", b"x")], "lead to a place inside it"),
    "backslash": ([member("..\\escaped", b"x")], "lead to a place inside it"),
    "drive": ([member("C:escaped", b"x")], "lead to a place inside it"),
    "drive-within": ([member("tree/C:/escaped", b"x")], "lead to a place inside it"),
    "drive-after-a-dot": ([member("./C:escaped", b"x")], "lead to a place inside it"),
    "stream-of-a-file": ([member("tree/a.tif:stream", b"x")], "lead to a place inside it"),
    "long-name": ([member("n" * 400, b"x")], "short enough for this disk"),
    "long-directory": ([member("n" * 400, kind=tarfile.DIRTYPE)], "short enough for this disk"),
    "no-number": ([member("a", pax_headers={"GNU.sparse.map": "a,b"})], "damaged"),
    "deep": ([member("/".join("a" * 40) + "/x", b"x")], "at most 16 directories deep"),
    "symbolic-link": ([member("link", kind=tarfile.SYMTYPE, linkname="/etc/passwd")], "a symbolic link"),
    "through-a-link": (
        [member("link", kind=tarfile.SYMTYPE, linkname=".."), member("link/escaped", b"x")],
        "a symbolic link",
    ),
    "hard-link": ([member("a", b"x"), member("link", kind=tarfile.LNKTYPE, linkname="a")], "a hard link"),
    "character-device": ([member("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)], "a device or pipe"),
    "block-device": ([member("disk", kind=tarfile.BLKTYPE)], "a device or pipe"),
    "pipe": ([member("pipe", kind=tarfile.FIFOTYPE)], "a device or pipe"),
    "sparse": (
        [member("sparse", b"0" * 512, pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"})],
        "a sparse file",
    ),
    "unknown-type": ([member("odd", kind=b"Q")], "must hold plain files"),
    "twice": ([member("a", b"x"), member("a", b"y")], "must occur once"),
    "file-as-directory": ([member("a", b"x"), member("a/b", b"y")], "must occur once"),
    "directory-as-file": ([member("a/b", b"x"), member("a", b"y")], "must occur once"),
    "many": ([member(f"f{index}") for index in range(21)], "at most 20 members"),
    "large-in-all": ([member("a", b"x" * 6000), member("b", b"x" * 6000)], "at most 20 members of at most 10000 bytes"),
    "empty": ([], "must hold files"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path, case):
    members, words = HOSTILE[case]
    sound = [member("sound.csv", b"x")] if members else []
    archive = pack(tmp_path / "a.tar.gz", *sound, *members)
    with pytest.raises(ArchiveError, match=words):
        unpacked(archive, tmp_path / "deep" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "deep"]
    assert not os.path.lexists("/tmp/escaped-from-archive")


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(**records):
    """An extended header, whose records replace what the next header says."""
    return tarfile.TarInfo._create_pax_generic_header(records, tarfile.XHDTYPE, "utf-8")


def overlapping(count, kernel=8192):
    """An archive of one kernel that `count` files contain: headers of negative size lead back to the next of them.

    d | f_0 f_1 ... | kernel | j_0 j_1 ... with d of size -10^9, which would make room for all under any limit.
    """
    first, end = 512, 512 + 512 * count + kernel
    files = [header(f"f{index}", end + 512 * index - (first + 512 * (index + 1))) for index in range(count)]
    goals = [first + 512 * (index + 1) for index in range(count - 1)] + [end + 512 * count]
    jumps = [header(f"j{index}", goal - (end + 512 * (index + 1))) for index, goal in enumerate(goals)]
    return [header("d", -(10**9), tarfile.DIRTYPE), *files, bytes(kernel), *jumps, bytes(1024)]


LYING = {
    "said-not-there": ([header("huge", 10**12)], "at most 20 members of at most 10000 bytes"),
    "long-long-name": ([header("name", 10**9, tarfile.GNUTYPE_LONGNAME), bytes(10**6)], "plausible size"),
    "long-extension": ([header("pax", 5_000_000, tarfile.XHDTYPE), bytes(5_000_000)], "plausible size"),
    "cut": ([header("cut.csv", 4000), b"x" * 1000], "damaged"),
    "no-archive": ([b"not a tar archive" * 100], "damaged"),
    "negative-file": ([header("back", -512), bytes(1024)], "must not be negative. Received: -512 bytes of 'back'"),
    "negative-directory": (
        [header("d", -(10**9), tarfile.DIRTYPE), *[header(f"f{i}", 9728) + bytes(9728) for i in range(5)], bytes(1024)],
        "must not be negative. Received: -1000000000 bytes of 'd'",
    ),
    "overlapping": (overlapping(4), "must not be negative"),
    "negative-extension": ([pax(size="-512"), header("back", 0), bytes(1024)], "must not be negative"),
    # Here a second size hides the one by which tarfile goes on.
    "hidden-backwards": (
        [header("a", 0), pax(**{"GNU.sparse.realsize": "0"}), header("back", -1536), bytes(1024)],
        "plausible place",
    ),
    "hidden-forwards": (
        [pax(**{"GNU.sparse.realsize": "0"}), header("far", 10**12), bytes(10**6)],
        "plausible place",
    ),
    "many-headers": ([pax(comment="x") * 2000, header("a", 0), bytes(1024)], "damaged"),
    "no-number": ([pax(**{"GNU.sparse.realsize": "many"}), header("a", 0), bytes(1024)], "damaged"),
}


@pytest.mark.parametrize("case", LYING)
def test_headers_that_lie(tmp_path, case):
    blocks, words = LYING[case]
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.writelines(blocks)
    with pytest.raises(ArchiveError, match=words):
        unpacked(tmp_path / "a.tar.gz", tmp_path / "out", most_bytes=10_000 if case != "many-headers" else 10**7)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_a_bomb_writes_no_more_than_the_limit(tmp_path, monkeypatch):
    """A gigabyte of zeros packs into a megabyte; none of it reaches the disk."""
    archive = pack(tmp_path / "a.tar.gz", member("a", bytes(9_000)), member("bomb", bytes(10**7)))
    written = []
    monkeypatch.setattr(shutil, "copyfileobj", lambda source, target, *_: written.append(len(source.read())))
    with pytest.raises(ArchiveError, match="Received: more, at 'bomb'"):
        unpacked(archive, tmp_path / "out")
    assert written == [9_000]


@pytest.mark.parametrize("keep", [10, 0.5])
def test_damaged_archives(tmp_path, keep):
    archive = pack(tmp_path / "a.tar.gz", member("a.csv", os.urandom(5000)))
    content = archive.read_bytes()
    archive.write_bytes(content[: keep if keep > 1 else int(keep * len(content))])
    with pytest.raises(ArchiveError, match="damaged"):
        unpacked(archive, tmp_path / "out")
    archive.write_bytes(b"<html>" + content)
    with pytest.raises(ArchiveError, match="damaged"):
        unpacked(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_existing_directory_is_not_touched(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", member("a.csv", b"x"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(TargetExistsError, match="`directory` must not exist"):
        unpacked(archive, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_an_error_of_the_callers_own_is_not_the_archives(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", member("a.csv", b"x"))
    with pytest.raises(ValueError, match=r"^mine$") as error:
        unpacked(archive, tmp_path / "out", progress=lambda done: (_ for _ in ()).throw(ValueError("mine")))
    assert not isinstance(error.value, ArchiveError)
    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_nothing(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", member("a.csv", b"x"))

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpacked(archive, tmp_path / "out", progress=interrupt)
    assert not (tmp_path / "out").exists()
