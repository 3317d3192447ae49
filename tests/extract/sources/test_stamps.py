from datetime import UTC, datetime

import pytest

from extract.sources.stamps import UNKNOWN, stamp

AT = datetime(2026, 1, 2, tzinfo=UTC)
AT_NS = int(AT.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({}, UNKNOWN),
        ({"size": 5}, UNKNOWN),
        ({"size": 5, "mtime": AT}, (5, AT_NS, 0, 0)),
        ({"size": 5, "mtime": AT.timestamp()}, (5, AT_NS, 0, 0)),
        ({"size": 5, "Last-Modified": "Fri, 02 Jan 2026 00:00:00 GMT"}, (5, AT_NS, 0, 0)),
        ({"size": 5, "updated": "2026-01-02T00:00:00Z"}, (5, AT_NS, 0, 0)),
        ({"size": 5, "updated": "yesterday"}, UNKNOWN),
    ],
    ids=str,
)
def test_a_stamp_is_what_is_known_of_a_version(details: dict, expected: tuple) -> None:
    assert stamp(details) == expected


def test_versions_of_one_size_and_time_differ_in_their_tag() -> None:
    one, other = ({"size": 5, "LastModified": AT, "ETag": tag} for tag in ("a", "b"))
    assert stamp(one) == stamp(dict(one))
    assert stamp(one) != stamp(other)
    assert stamp(one)[:3] == (5, 0, 0)
