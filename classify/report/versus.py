"""Two runs side by side, as text and as a page."""

from pathlib import Path

from cache.format import describe_counts
from classify.report.page.render import render
from classify.report.pictures.heads import two_runs
from classify.versus import Side, Versus
from classify.wording import describe_weights, p_value, percent, points

TITLES = ("head", "A val top-1", "B val top-1", "A test top-1", "B test top-1", "B minus A, test")


def as_text(versus: Versus) -> str:
    """Facts that differ, and a line a head."""
    lines = [f"A: {versus.a.name}", f"B: {versus.b.name}"]
    lines += [f"{name}: {a} | {b}" for name, a, b in facts(versus) if a != b]
    table = [TITLES, *rows(versus)]
    widths = [max(len(row[column]) for row in table) for column in range(len(TITLES))]
    lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)]
    return "\n".join([*lines, "", footnote(versus)])


def write_page(versus: Versus, folder: Path) -> Path:
    """Write the comparison as a page of its own; gives its path."""
    a, b = versus.a, versus.b
    path = folder / f"versus-{b.name}.html"
    folder.mkdir(parents=True, exist_ok=True)
    tests = [(name, (a.test(name), b.test(name))) for name in versus.names]
    page = render(
        "versus.html",
        title=f"{a.name} and {b.name}",
        data={},
        versus=versus,
        facts=facts(versus),
        titles=TITLES,
        rows=rows(versus),
        picture=two_runs(a.name, b.name, tests),
        footnote=footnote(versus),
    )
    path.write_text(page, "utf-8")
    return path


def facts(versus: Versus) -> list[tuple[str, str, str]]:
    """Name of each fact, and its value in the first and in the second run."""
    a, b = _facts(versus.a), _facts(versus.b)
    return [(name, a[name], b[name]) for name in a]


def rows(versus: Versus) -> list[tuple[str, ...]]:
    """One row for each head; cells in the order of `TITLES`."""
    a, b = versus.a, versus.b
    return [
        (
            name,
            *(percent(each) for each in (a.val(name), b.val(name), a.test(name), b.test(name))),
            _difference(name, versus),
        )
        for name in versus.names
    ]


def footnote(versus: Versus) -> str:
    """How to read the table."""
    common = (
        f"Differences: on the {versus.n_common} images of test that both have under the same "
        "class; paired bootstrap, p of McNemar's exact test, Holm-corrected for the heads."
        if versus.n_common
        else "The runs share no image of test, so that nothing is paired: compare the intervals "
        "with care."
    )
    return f"[95 % intervals: Wilson for top-1]. {common} Choose between runs on val."


def _facts(side: Side) -> dict[str, str]:
    identity, data = side.identity, side.config.data
    return {
        "weights": describe_weights(identity, side.config.weights),
        "backbone": identity.backbone,
        "size": f"{identity.size_px} px",
        "pooling": identity.pooling,
        "precision": identity.precision,
        "preprocessing": identity.preprocessing,
        "columns": str(side.dim),
        "data": str(data["folder"]),
        "images": describe_counts(side.n_images),
        "classes": str(len(side.classes)),
        "split": str(data["split"]),
    }


def _difference(name: str, versus: Versus) -> str:
    for letter, side in (("A", versus.a), ("B", versus.b)):
        if name not in side.heads:
            return f"not trained in {letter}"
    if name not in versus.differences:
        return "no image in common"
    found = versus.differences[name]
    what = f"{points(found.difference)}, {p_value(found.p_holm)}"
    if not found.is_seen:
        return f"no difference seen ({what})"
    return f"{'B' if found.difference.value > 0 else 'A'} is better ({what})"
