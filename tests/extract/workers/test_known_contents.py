from headbench.extract.workers.parallel import KnownContents


def test_known_contents_are_those_with_the_same_first_eight_bytes() -> None:
    contents = [bytes([number]) * 32 for number in (7, 255, 0, 128)]
    known = KnownContents.of(contents)
    assert all(content in known for content in contents)
    assert bytes([7]) * 8 + bytes(24) in known
    assert bytes([7]) * 7 + bytes(25) not in known
    assert bytes([255]) * 7 + bytes(25) not in known
    assert bytes(32) not in KnownContents.of([])
    assert known.prefixes.nbytes == 8 * len(contents)
