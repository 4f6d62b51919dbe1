"""Files are replaced in one step or not at all, with the permissions that users expect."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost.errors import InvalidValueError
from hwcost.files import (
    new_folder,
    read_file,
    read_given,
    read_signed,
    write_given,
    write_json,
    write_json_lines,
    write_signed,
    write_whole,
)

NEW = b"new " * 100_000


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def fail_to_write(path, before):
    """Runs ``before`` and then writes NEW to ``path``, in another process; returns the errno of the error."""
    code = (
        "import os, resource, sys; from hwcost.files import write_whole\n"
        f"{before}\n"
        "try: write_whole(sys.argv[1], b'new ' * 100_000)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture
def umask():
    old = os.umask(0o027)
    yield
    os.umask(old)


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, umask):
    write_whole(tmp_path / "new", b"x")
    assert mode(tmp_path / "new") == 0o640


@pytest.mark.parametrize("kept", [0o600, 0o666, 0o755])
def test_an_existing_file_keeps_its_permissions(kept, tmp_path, umask):
    path = tmp_path / "old"
    path.write_bytes(b"old")
    path.chmod(kept)
    write_whole(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", kept)


def test_a_link_is_replaced_and_what_it_points_to_left_alone(tmp_path):
    (tmp_path / "victim").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    write_whole(tmp_path / "link", [b"a", b"b"])
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"ab"
    assert (tmp_path / "victim").read_bytes() == b"theirs"


def test_a_name_as_long_as_can_be(tmp_path):
    write_whole(tmp_path / ("x" * 255), b"a")
    assert os.listdir(tmp_path) == ["x" * 255]


KILLED = """
import os, signal, sys
from hwcost.files import write_whole
def parts():
    yield b"half"
    os.kill(os.getpid(), signal.SIGKILL)
write_whole(sys.argv[1], parts())
"""


def test_leftovers_of_a_killed_writer_are_removed_by_the_next(tmp_path):
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert len(os.listdir(tmp_path)) == 1
    write_whole(tmp_path / "other", b"x")
    assert os.listdir(tmp_path) == ["other"]


def test_many_threads_on_one_path_leave_whole_files(tmp_path):
    path, failed = tmp_path / "file", []
    contents = [letter * 100_000 for letter in (b"a", b"b", b"c", b"d")]

    def write(content):
        try:
            for _ in range(40):
                write_whole(path, content)
                if path.read_bytes() not in contents:
                    failed.append("mixed")
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert os.listdir(tmp_path) == ["file"]


def test_a_new_folder_has_the_permissions_of_the_umask(tmp_path, umask):
    with new_folder(tmp_path / "run") as begun:
        (begun / "file").write_bytes(b"")
    assert mode(tmp_path / "run") == 0o750
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("before", "folder"),
    [
        ("resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))", 0o700),  # fails midway, as on a full disk
        ("os.geteuid() or os.setuid(65534)", 0o500),  # root may write everywhere
    ],
)
def test_a_file_that_cannot_be_written_leaves_the_old_one(before, folder, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    tmp_path.chmod(folder)
    try:
        assert fail_to_write(path, before)
    finally:
        tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


def test_errors_of_the_content_pass_and_leave_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def parts():
        yield b"half"
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        write_whole(path, parts())
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


def test_writers_at_the_same_time_do_not_mix(tmp_path):
    path, meet, failed = tmp_path / "file", threading.Barrier(4, timeout=60), []

    def write(letter):
        def parts():
            for _ in range(3):
                meet.wait()
                yield letter * 10_000

        try:
            write_whole(path, parts())
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() in [letter * 30_000 for letter in (b"a", b"b", b"c", b"d")]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3),
    max_leaves=8,
)


@given(content=st.dictionaries(st.text(max_size=4), PLAIN, max_size=4), place=st.integers(0, 10**6))
def test_signed_json_is_read_as_it_was_written_or_not_at_all(tmp_path_factory, content, place):
    path = tmp_path_factory.mktemp("signed") / "a.json"
    content = {name: value for name, value in content.items() if name != "digest"} | {"schema": "own/1", "n": 3}
    write_signed(path, content)
    assert read_signed(path, "own/1", 10**6) == content
    with pytest.raises(OSError, match=r"^\[Errno None\] it is not of schema 'other/1'"):
        read_signed(path, "other/1", 10**6)
    text = path.read_bytes()
    at = place % len(text)
    changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
    path.write_bytes(changed)
    try:
        found = read_signed(path, "own/1", 10**6)
    except OSError:
        return
    assert found == content  # white space was changed


def test_signed_json_has_texts_as_keys(tmp_path):
    write_signed(tmp_path / "a.json", {"schema": "own/1", "losses": {8: 0.5}})
    assert read_signed(tmp_path / "a.json", "own/1", 10**6) == {"schema": "own/1", "losses": {"8": 0.5}}


@pytest.mark.parametrize("name", ["null\0", "\ud800", "x" * 5000, "no/such/folder", "."])
@pytest.mark.parametrize("use", [lambda path: write_whole(path, b""), lambda path: read_file(path, 1)])
def test_names_that_cannot_be_used(name, use, tmp_path):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        use(os.path.join(tmp_path, name))
    assert caught.value.strerror
    assert os.listdir(tmp_path) == []


def test_reading_stops_at_the_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="4 bytes"):
        read_file(tmp_path / "file", 4)


def test_json(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2.5]}
    write_json_lines(tmp_path / "a.jsonl", ({"n": n} for n in range(3)))
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {"n": n} for n in range(3)
    ]
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))


@pytest.mark.parametrize("use", [lambda path: write_given(path, b"x", "it"), lambda path: read_given(path, 9, "it")])
@pytest.mark.parametrize("name", ["", "none/file", "a\0b"])
def test_a_path_that_was_given_is_named(use, name, tmp_path):
    path = tmp_path / name
    with pytest.raises(InvalidValueError) as caught:
        use(path)
    assert (caught.value.field, caught.value.value) == ("it", os.fspath(path))
    assert caught.value.allowed.startswith("a path that can be ")
