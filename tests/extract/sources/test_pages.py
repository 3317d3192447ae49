import pytest

from extract.sources.pages import link_to, name_of


@pytest.mark.parametrize("name", ["red one/#1.png", "größe/50%.png", "a&b?.png", "\udce4.png"])
def test_a_link_leads_to_the_name_that_it_was_made_of(name: str) -> None:
    assert name_of(link_to(name)) == name
