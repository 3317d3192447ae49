from pathlib import Path

import pytest

from extract.sources.places import address, place

FAR = "s3://bucket/lists/a.csv"


@pytest.mark.parametrize(
    ("path", "expected", "lies"),
    [
        ("cats/1.png", "cats/1.png", "/data/cats/1.png"),
        ("./cats//1.png", "cats/1.png", "/data/cats/1.png"),
        ("dogs/../cats/1.png", "cats/1.png", "/data/cats/1.png"),
        ("/data/cats/1.png", "cats/1.png", "/data/cats/1.png"),
        ("file:///data/cats/1.png", "cats/1.png", "/data/cats/1.png"),
        ("//data/./cats/1.png", "cats/1.png", "/data/cats/1.png"),
        ("../1.png", "file:///1.png", "/1.png"),
        ("/database/1.png", "file:///database/1.png", "/database/1.png"),
        ("..data/1.png", "..data/1.png", "/data/..data/1.png"),
        ("crème brûlée/寿司 #1%20.png", "crème brûlée/寿司 #1%20.png", None),
    ],
)
def test_one_place_has_one_name_whatever_leads_there(
    path: str, expected: str, lies: str | None
) -> None:
    assert address("/data/list.csv", path) == expected
    assert place("/data/list.csv", expected) == Path(lies or f"/data/{expected}")
    assert address("/data/list.csv", expected) == expected


def test_a_list_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert address("list.csv", f"{tmp_path}/a.png") == "a.png"
    assert address("list.csv", "../a.png") == f"file://{tmp_path.parent}/a.png"
    assert place("list.csv", "a.png") == Path("a.png")


@pytest.mark.parametrize("manifest", ["/data/list.csv", FAR])
@pytest.mark.parametrize(
    "url", ["s3://bucket/1.png", "http://host/1.png?size=2", "zip://1::s3://b"]
)
def test_urls_stay_as_they_are(manifest: str, url: str) -> None:
    assert address(manifest, url) == place(manifest, url) == url


def test_paths_beside_a_list_behind_a_url() -> None:
    assert address(FAR, "a/../b//1.png") == "b/1.png"
    assert place(FAR, "b/1.png") == "s3://bucket/lists/b/1.png"
    assert place("zip://list.csv::s3://b/a.zip", "1.png") == "zip://1.png::s3://b/a.zip"
    assert address(FAR, "file:///tmp/1.png") == "file:///tmp/1.png"
    assert place(FAR, "file:///tmp/1.png") == Path("/tmp/1.png")  # noqa: S108, nothing is there


@pytest.mark.parametrize(
    ("manifest", "path", "reason"),
    [
        (FAR, "../1.png", "write its URL"),
        (FAR, "/1.png", "expected a path relative to the list"),
        (FAR, "s3://bucket/../1.png", "expected the path or URL of a file"),
        ("/data/list.csv", "http://host/../1.png", "expected the path or URL of a file"),
        ("/data/list.csv", "file://1/../2.png", "expected the path or URL of a file"),
    ],
)
def test_what_leads_nowhere_is_refused(manifest: str, path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        address(manifest, path)
