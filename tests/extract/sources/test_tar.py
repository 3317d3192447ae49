import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.sources.tar import Entry, Place, Stream, class_of, read_samples
from tests.extract.sources.tars import special, write_tar
from tests.extract.sources.web_server import web_server


def samples(path: Path) -> list[tuple[str, str, str]]:
    """Name, class and reason of each."""
    stream = Stream(Place(str(path)), path.stat().st_size)
    found = [entry for entry, _ in read_samples(stream)]
    stream.close()
    return [(entry.path, entry.class_name, entry.reason) for entry in found]


def of(tmp_path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> list[tuple[str, str, str]]:
    return samples(write_tar(tmp_path / "some.tar", members))


def test_a_key_ends_at_the_first_dot_of_the_last_part(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        ("v1.0/a.b.JPG", b"a"),
        ("v1.0/a.CLS", b"cat\n"),
        ("v1.0/b.cls.txt", b"\xef\xbb\xbfdog"),
        ("v1.0/b.img.png", b"b"),
        ("v1.0/b.caption.txt", b"goes with b, and is not asked for"),
        ("./c.json", json.dumps({"class": 7}).encode()),
        ("./c.webp", b"c"),
    )
    assert found == [
        ("v1.0/a.b.JPG", "cat", ""),
        ("v1.0/b.img.png", "dog", ""),
        ("c.webp", "7", ""),
    ]


def test_bytes_of_an_image_lie_where_it_says(tmp_path: Path) -> None:
    long = "long/" * 40 + "name.png"  # its header takes several blocks
    members = [("a.png", b"first"), ("a.cls", b"x"), (long, b"second"), (f"{long[:-4]}.cls", b"y")]
    path = write_tar(tmp_path / "some.tar", members)
    stream = Stream(Place(str(path)), -1)
    images = [entry for entry, _ in read_samples(stream)]
    stream.close()
    found = [(each.path, Place(str(path)).read(each.offset, each.n_bytes)) for each in images]
    assert found == [("a.png", b"first"), (long, b"second")]


def test_nothing_in_a_shard_disappears(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        ("alone.jpg", b"x"),
        ("label.cls", b"x"),
        ("two.jpg", b"1"),
        ("two.png", b"2"),
        ("two.cls", b"x"),
        ("notes", b"x"),
        ("split.jpg", b"x"),
        ("other.txt", b"x"),
        ("split.cls", b"x"),
        special("link.jpg", tarfile.SYMTYPE, "two.jpg"),
        special("hard.jpg", tarfile.LNKTYPE, "two.jpg"),
        special("folder.jpg", tarfile.DIRTYPE),
        special("folder", tarfile.DIRTYPE),
        special("pipe.jpg", tarfile.FIFOTYPE),
        ("/etc/root.jpg", b"x"),
        ("/etc/root.cls", b"x"),
        ("../up.jpg", b"x"),
        ("latin\udce9.jpg", b"x"),
        ("._alone.jpg", b"of a Mac"),
        (".DS_Store", b"of a Mac"),
    )
    beside = "no class: expected KEY.cls or KEY.json with a label beside it in the shard"
    alone = "a class without an image beside it in the shard"
    two = "2 images have the same key (two.jpg, two.png), expected one"
    neither, out = "neither an image nor a class", "its name leads out of the shard"
    link = "a link, not a file"
    assert [(name, reason) for name, _, reason in found] == [
        ("alone.jpg", beside),
        ("label.cls", alone),
        ("two.jpg", two),
        ("two.png", two),
        ("notes", neither),
        ("split.jpg", beside),
        ("other.txt", neither),
        ("split.cls", alone),
        ("link.jpg", link),
        ("hard.jpg", link),
        ("folder.jpg", "a folder, not a file"),
        ("pipe.jpg", "not a regular file"),
        ("/etc/root.jpg", out),
        ("/etc/root.cls", out),
        ("../up.jpg", out),
        ("latin\\xe9.jpg", "its name is not valid UTF-8: rename it"),
    ]
    assert {class_name for _, class_name, _ in found} == {""}


def test_a_second_member_of_one_name_is_said_to_be_one(tmp_path: Path) -> None:
    once = [("a.jpg", b"1"), ("a.cls", b"x")]
    found = of(tmp_path, *once, ("b.jpg", b"2"), ("b.cls", b"y"), *once)
    assert [class_name for _, class_name, _ in found] == ["x", "y", ""]
    assert found[-1][2] == "the second member of this name in the shard"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"cls": b"3"}, "3"),
        ({"cls": b" a name \n"}, "a name"),
        ({"cls": "a\u200cb\u00a0c".encode()}, "a\u200cb\u00a0c"),
        ({"json": b'{"label": "from json"}'}, "from json"),
        ({"json": b'{"cls": 12, "class": "later"}'}, "12"),
        ({"json": b'{"label": "of json"}', "cls": b"of text"}, "of text"),
        ({"json": b'{"caption": "nothing"}'}, None),
        ({"json": b'{"label": true}'}, None),
        ({"json": b'{"label": 0.5}'}, None),
        ({"json": b"[1]"}, None),
        ({"json": b"{"}, None),
        ({"json": b"[" * 100_000}, None),
        ({"json": b"\xff"}, None),
        ({"cls": b"\xff"}, None),
        ({"cls": b""}, None),
        ({"cls": b"two\nlines"}, None),
        ({"cls": b"nul\0"}, None),
        ({"cls": "two\u2028lines".encode()}, None),
        ({"cls": b"\x1b[31mred"}, None),
        ({"cls": b"x" * 256}, None),
        ({}, None),
    ],
)
def test_a_class_is_a_line_of_text_or_a_whole_number(
    labels: dict[str, bytes], expected: str | None
) -> None:
    if expected is None:
        with pytest.raises(UnusableImageError, match=r"^no class: "):
            class_of(labels)
    else:
        assert class_of(labels) == expected


@pytest.mark.parametrize("n_bytes", [0, 100, 512, 700, 1024, 1500, 2048, 2100, 3072])
def test_of_a_shard_that_is_cut_off_the_whole_samples_are_used(
    tmp_path: Path, n_bytes: int
) -> None:
    members = [("a.cls", b"x"), ("a.jpg", b"1" * 600), ("b.cls", b"y"), ("b.jpg", b"2" * 600)]
    path = write_tar(tmp_path / "some.tar", members)
    path.write_bytes(path.read_bytes()[:n_bytes])
    found = samples(path)
    # Header, block, header, two blocks: the first sample is whole from byte 2560 on.
    assert [row[:2] for row in found if row[1]] == ([("a.jpg", "x")] if n_bytes >= 2560 else [])
    assert found[-1][:2] == ("", "")
    assert ("not a tar file" if n_bytes <= 512 else "cut off or damaged at byte") in found[-1][2]


def test_a_shard_without_its_end_or_with_damage_inside_is_never_taken_for_whole(
    tmp_path: Path,
) -> None:
    members = [("a.cls", b"x"), ("a.jpg", b"1"), ("b.cls", b"y"), ("b.jpg", b"2")]
    path = write_tar(tmp_path / "some.tar", members)
    whole = path.read_bytes()
    path.write_bytes(whole[: 8 * 512])  # all members, and not the zeros that end a tar file
    assert [name for name, _, _ in samples(path)] == ["a.jpg", "b.jpg", ""]
    path.write_bytes(whole[: 4 * 512] + b"!" * 512 + whole[5 * 512 :])
    assert [name for name, _, _ in samples(path)] == ["a.jpg", ""]
    path.write_bytes(b"\x1f\x8b" + whole)
    [(_, _, reason)] = samples(path)
    assert reason.startswith("not a tar file")


def test_a_connection_that_ends_early_is_no_end_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    stream = Stream(Place(str(tmp_path / "file")), 20)
    assert stream.read(10) == b"0123456789"
    with pytest.raises(DataError, match=r"read from byte 10 on \(it ended before its 20"):
        stream.read(10)


def test_bytes_of_a_shard_that_is_gone_are_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UnusableImageError, match="its shard cannot be read: No such file"):
        Place(str(tmp_path / "gone.tar")).read(0, 1)


def test_a_server_that_tells_no_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "_details", {"size": None})
    with pytest.raises(DataError, match="expected a server that gives the length"):
        Stream(Place("https://host/a.tar"), 0)


def test_a_server_that_sends_whole_files_only_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "a.tar").write_bytes(b"0123456789")
    refused = pytest.raises(UnusableImageError, match="expected one that answers range requests")
    with web_server(tmp_path) as url, refused:
        Place(f"{url}/a.tar").read(2, 3)


def read_large(path: Path, size: int, kind: bytes = tarfile.REGTYPE) -> list[Entry]:
    """What is read of a tar file whose second member has so many bytes, most of them holes."""
    write_tar(path, [("a.png", b"image"), ("a.cls", b"x")])
    info = tarfile.TarInfo("b.png")
    info.size, info.type = size, kind
    with path.open("r+b") as file:
        file.seek(4 * tarfile.BLOCKSIZE)
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(file.tell() + size + 2 * tarfile.BLOCKSIZE)
    with Stream(Place(str(path)), path.stat().st_size) as stream:
        return [entry for entry, _ in read_samples(stream)]


def test_an_image_of_8_gb_in_a_shard_is_listed_and_not_read(tmp_path: Path) -> None:
    first, second = read_large(tmp_path / "a.tar", 8_000_000_000)
    assert (first.class_name, first.reason) == ("x", "")
    assert (second.path, second.class_name) == ("b.png", "")
    assert second.reason.startswith("larger than 512 MB")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_of_3_gb_in_a_shard_is_not_read(tmp_path: Path, kind: bytes) -> None:
    first, second = read_large(tmp_path / "a.tar", 3_000_000_000, kind)
    assert (first.class_name, first.reason) == ("x", "")
    assert "the name of a member claims 3000000000 bytes" in second.reason


def sparse_in_old_form() -> bytes:
    """A sparse file with two blocks of map and no data."""
    info = tarfile.TarInfo("b.png")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482], header[483:495] = 1, b"00000000100\0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * ord(" "))
    entries = b"00000000001\0" * 42
    return bytes(header) + entries + b"\1" + bytes(7) + entries + bytes(8)


def sparse_in_pax_form() -> bytes:
    """A sparse file whose map would be no numbers."""
    info = tarfile.TarInfo("b.png")
    info.size = 512
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    return info.tobuf(tarfile.PAX_FORMAT) + b"x" * 512


@pytest.mark.parametrize("form", [sparse_in_old_form, sparse_in_pax_form])
def test_the_map_of_a_sparse_file_is_not_read(tmp_path: Path, form: Callable[[], bytes]) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, [("a.png", b"image"), ("a.cls", b"x")])
    whole = path.read_bytes()
    path.write_bytes(whole[:2048] + form() + whole)
    with Stream(Place(str(path)), path.stat().st_size) as stream:
        found = [entry for entry, _ in read_samples(stream)]
    assert [(each.path, each.class_name, each.reason) for each in found[:2]] == [
        ("a.png", "x", ""),
        ("b.png", "", "not a regular file"),
    ]
    assert found[2].path == "a.png"
