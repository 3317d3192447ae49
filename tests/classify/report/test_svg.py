import warnings

import pytest

from headbench.classify.report.svg import THEME, drawing, figure, picture, short


def drawn(title: str, name: str = "one") -> str:
    with drawing():
        made, axes = figure(2)
        axes.plot([0, 1], color=THEME["c0"])
        axes.set_title(title)
        return str(picture(name, made, 'says "hi" <b>', "caption").svg)


def test_colours_are_those_of_the_page() -> None:
    svg = drawn("title")
    assert "var(--c0)" in svg
    assert not [color for color in THEME.values() if color in svg]


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "$x^2$ $",
        'id="axes',
        "#010203 url(#a)",
        "寿司 🍣 كعك",
        "\\frac{",
    ],
)
def test_names_stay_text_as_they_are(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = drawn(name)
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f">{escaped}</text>" in svg
    assert "<script" not in svg


def test_ids_of_two_pictures_differ() -> None:
    first, second = (set(_ids(drawn("title", name))) for name in ("one", "two"))
    assert first
    assert not first & second


def test_the_same_picture_has_the_same_bytes() -> None:
    assert drawn("title") == drawn("title")


def test_what_it_shows_is_said_for_those_who_cannot_see_it() -> None:
    assert 'role="img" aria-label="says &#34;hi&#34; &lt;b&gt;"' in drawn("title")


def test_long_names_are_cut_and_short_ones_are_not() -> None:
    assert short("apple_pie") == "apple_pie"
    assert short("x" * 40) == "x" * 23 + "…"
    assert short("two\nlines") == "two lines"


def _ids(svg: str) -> list[str]:
    return [part.split('"')[0] for part in svg.split(' id="')[1:]]
