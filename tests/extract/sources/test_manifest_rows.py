"""What a list may say of an image, and where it says what it may not."""

import shutil
from pathlib import Path

import pytest

from headbench.extract.errors import DataError
from headbench.extract.sources.manifest import ALLOWED, Manifest, address, place
from headbench.extract.sources.source import LabelledImage
from tests.extract.sources.manifests import listed, write_csv, write_parquet


def test_columns_are_found_by_name_and_those_not_used_are_said(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "list.csv",
        " Label ,id,PATH,Weight,split,Group,size",
        "cat,1,b.png,2,,,9",
        " dog ,2, a.png ,0.5,Validation,g 1,9",
    )
    found = listed(path)
    assert found.layout == "manifest"
    assert found.notes == (f"{path}: columns not used: id, size",)
    assert found.images == (
        LabelledImage("a.png", "dog", "val", "g 1", 0.5),
        LabelledImage("b.png", "cat", None, None, 2.0),
    )


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    csv = write_csv(
        tmp_path / "a.csv", "path,label,split,group,weight", "1.png,7,train,5,1.5", "2.png,8,,,0.25"
    )
    parquet = write_parquet(
        tmp_path / "a.parquet",
        path=["1.png", "2.png"],
        label=[7, 8],
        split=["train", None],
        group=["5", None],
        weight=[1.5, 0.25],
    )
    assert listed(csv).images == listed(parquet).images
    assert listed(parquet).notes == ()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 2, -1, 0], ("-1", "0", "2", "10")),
        (["10", "2", "cat"], ("10", "2", "cat")),
        (["10", "02", "1"], ("02", "1", "10")),
        (["b", "B", "ä", "a"], ("B", "a", "b", "ä")),
    ],
)
def test_integers_are_in_the_order_of_numbers_and_all_else_in_that_of_text(
    tmp_path: Path, labels: list, classes: tuple[str, ...]
) -> None:
    names = [f"{number}.png" for number in range(len(labels))]
    parquet = write_parquet(tmp_path / "a.parquet", path=names, label=labels)
    lines = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    csv = write_csv(tmp_path / "a.csv", "path,label", *lines)
    assert listed(parquet).classes == listed(csv).classes == classes


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,label", "no column path; found file, label"),
        ("path;label", "no column path and no column label; found path;label"),
        ("", "found no columns"),
        ("path,label,Path", "a column appears twice: found path, label, Path"),
        ("path,label,Label", r"several labels .* \(column label, Label\)"),
        ("path,labels", r"several labels .* \(column labels\)"),
        ("path,label_1,label_2", r"several labels .* \(column label_1, label_2\)"),
        ("path,label,label2", r"several labels .* \(column label, label2\)"),
    ],
)
def test_columns_that_are_not_clear_are_refused(tmp_path: Path, header: str, message: str) -> None:
    path = write_csv(tmp_path / "list.csv", header)
    with pytest.raises(DataError, match=f"{path}: .*{message}") as caught:
        listed(path)
    assert "\n" not in str(caught.value)


def test_a_list_of_labels_in_parquet_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", path=["a.png"], label=[["cat", "dog"]])
    with pytest.raises(DataError, match=r"several labels for an image \(column label\)"):
        listed(path)


def test_a_list_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a row for each image .* found none"):
        listed(write_csv(tmp_path / "list.csv", "path,label"))
    with pytest.raises(DataError, match=r"only one class, 'cat'.* Expected a row for each image,"):
        listed(write_csv(tmp_path / "list.csv", "path,label", "a.png,cat"))
    with pytest.raises(DataError, match="expected a list of images, found nothing"):
        listed(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (" ,cat,,,1", "path is empty"),
        (f"s3://b/{'%3F' * 9999},cat,,,1", "path is longer than 4096 characters"),
        ("x.png,,,,1", "label is empty"),
        ("x.png,cat|dog,,,1", r"label 'cat\|dog': expected one label, found several"),
        ('x.png,"a\nb",,,1', r"label 'a\\nb': no class: .* not a line of text"),
        ("x.png,\x1b[31mcat,,,1", r"label '\\x1b\[31mcat': no class"),
        (f"x.png,{5000 * 'c'},,,1", f"label '{40 * 'c'}': no class: .* is over 255 bytes"),
        ("x.png,cat,eval,,1", "split 'eval': expected train, training, val, .*, test, testing, or"),
        ("x.png,cat,,,0", "weight '0': expected a positive, finite number"),
        ("x.png,cat,,,-1", "weight '-1'"),
        ("x.png,cat,,,nan", "weight 'nan'"),
        ("x.png,cat,,,inf", "weight 'inf'"),
        ("x.png,cat,,,1e-60", "weight '1e-60'"),
        ("x.png,cat,,,1e60", "weight '1e60'"),
        ("x.png,cat,,,", "weight ''"),
        ("x.png,cat,,,heavy", "weight 'heavy'"),
        ("x\0.png,cat,,,1", "holds a zero byte"),
        ("./b.png,cat,,,1", r"path 'b\.png' is already on line 3"),
        ("{folder}/b.png,cat,,,1", r"path 'b\.png' is already on line 3"),
        ("x.png,cat,test,g,1", "group 'g' is in test here and in val on line 3"),
        ("nothing://x.png,cat,,,1", "nothing://x.png: cannot be opened"),
        ("http://me:hidden@host/x.png,cat,,,1", r"http://\.\.\.@host/x\.png: expected a URL"),
        ("http://host/x.png?sig=hidden,cat,,,1", r"http://host/x\.png\?\.\.\.: expected a URL"),
        ("s3://me:hidden@b/../x,cat,,,1", r"path 's3://\.\.\.@b/\.\./x': expected the path or URL"),
        ("s3://b/../x.png,cat,,,1", r"path 's3://b/\.\./x\.png': expected the path or URL"),
        ("reference::http://h/x,cat,,,1", "reference::http://h/x: cannot be opened"),
        ("zip://x::reference::http://h/y,cat,,,1", "zip://x::reference::http://h/y: cannot be op"),
    ],
)
def test_a_row_that_is_wrong_is_named_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    path = write_csv(
        tmp_path / "list.csv",
        "path,label,split,group,weight",
        "a.png,cat,,g,1",
        "b.png,dog,val,g,1",
        row.format(folder=tmp_path),
    )
    with pytest.raises(DataError, match=f"{path}, line 4: {message}"):
        listed(path)


def test_in_parquet_rows_are_counted_from_the_first_image_on(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", path=["1", "2", "3", "2"], label=[1, 2, 3, 4])
    with pytest.raises(DataError, match=r"a\.parquet, row 4: path '2' is already on row 2"):
        listed(path)
    write_parquet(path, path=["1", "2", "3"], label=["a", "b", None])
    with pytest.raises(DataError, match=r"a\.parquet, row 3: label is empty"):
        listed(path)


def test_nan_is_neither_a_class_nor_a_group(tmp_path: Path) -> None:
    path, nan = tmp_path / "a.parquet", float("nan")
    write_parquet(path, path=["1", "2", "3"], label=[0.0, 1.0, 10.0], group=[nan, 7.0, nan])
    assert [image.group for image in listed(path).images] == [None, "7", None]
    assert listed(path).classes == ("0", "1", "10")
    write_parquet(path, path=["1", "2", "3"], label=[0.0, 1.0, nan])
    with pytest.raises(DataError, match=r"a\.parquet, row 3: label is empty"):
        listed(path)


def test_a_group_goes_where_one_of_its_images_is_named_for(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "list.csv",
        "path,label,group,split",
        *("1,a,g,", "2,b,g,test", "3,a,g,", "4,a,h,", "5,b,,val", "6,b,,"),
    )
    splits = {image.path: image.given_split for image in listed(path).images}
    assert splits == {"1": "test", "2": "test", "3": "test", "4": None, "5": "val", "6": None}


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
        (FAR, "../1.png", "write a URL"),
        (FAR, "/1.png", "expected a path relative to the list"),
        (FAR, "s3://bucket/../1.png", "expected the path or URL of a file"),
        ("/data/list.csv", "http://host/../1.png", "expected the path or URL of a file"),
        ("/data/list.csv", "file://1/../2.png", "expected the path or URL of a file"),
    ],
)
def test_what_leads_nowhere_is_refused(manifest: str, path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        address(manifest, path)


ELSEWHERE = {
    "../x.png": "file",
    "/nowhere/x.png": "file",
    "file:///nowhere/x.png": "file",
    "https://host/x.png": "https",
    "s3://bucket/x.png": "s3",
    "zip://x.png::s3://bucket/all.zip": "s3",
    "zip://x.png::/nowhere/all.zip": "file",
}


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_list_names_only_what_lies_below_it_unless_the_user_allows_more(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = write_csv(tmp_path / "list.csv", "path,label", "a.png,cat", f"{path},dog")
    way_out = f"headbench opens it only if you allow it: {ALLOWED}={ELSEWHERE[path]}"
    for others in ("", "memory,hdfs"):
        monkeypatch.setenv(ALLOWED, others)
        with pytest.raises(DataError, match=rf"list\.csv, line 3: .*: is outside .* {way_out}"):
            listed(csv)
    monkeypatch.setenv(ALLOWED, f"memory, {ELSEWHERE[path]}")
    found = [image.path for image in listed(csv).images]
    assert len(found) == 2
    for each in found:
        Manifest(str(csv)).file(each)
    monkeypatch.delenv(ALLOWED)  # the paths of a feature file, which may be another one's
    for each in set(found) - {"a.png"}:
        with pytest.raises(DataError, match=way_out):
            Manifest(str(csv)).file(each)


@pytest.mark.parametrize("path", ["x.png?hidden", "x.png;sig=hidden", "x%3Ftoken=hidden", "x#hid"])
def test_a_path_below_a_list_on_the_web_holds_no_secret_either(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = write_csv(tmp_path / "list.csv", "path,label", "a.png,cat", f"{path},dog")
    monkeypatch.setattr(
        "headbench.extract.sources.tables.fetch", lambda _, to, *__: shutil.copy(csv, to)
    )
    with pytest.raises(DataError, match=r"line 3: https://host/x.*: expected a URL") as found:
        listed("https://host/list.csv")
    assert "hid" not in str(found.value)
