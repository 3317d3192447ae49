"""Results that show themselves: a table as text, and in a notebook as HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.terminal import UNSHOWN

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from headbench.classify.deployment.prediction import Prediction
    from headbench.classify.deployment.similar_images import Alike
    from headbench.classify.deployment.suggested_images import Suggestion
    from headbench.classify.doctor.finding import Diagnosis
    from headbench.classify.report.results import Results
    from headbench.classify.report.summary import WrittenReport
    from headbench.classify.report.versus import Versus
    from headbench.classify.run import Trained
    from headbench.classify.studies.network_choice import NetworkChoice


# Titles, and the text of each row.
Cells = tuple[tuple[str, ...], list[tuple[str, ...]]]


class Table:
    """Rows of text under titles."""

    def cells(self) -> Cells:
        """Titles, and the text of each row."""
        raise NotImplementedError

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a data frame; needs pandas."""
        import pandas as pd

        titles, rows = self.cells()
        return pd.DataFrame(rows, columns=list(titles))

    def __str__(self) -> str:
        from headbench.classify.wording import aligned

        titles, rows = self.cells()
        return _shown("\n".join(aligned([titles, *rows])))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        titles, rows = self.cells()
        head = "".join(f"<th>{escape(title)}</th>" for title in titles)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, repr=False)
class Heads(Table):
    """Trained heads, the best balanced accuracy on val first.

    Attributes
    ----------
    trained : tuple of headbench.classify.run.Trained
        Record, and probabilities on val and test.
    y_val : int32 (n_val,)
    """

    trained: "tuple[Trained, ...]"
    y_val: "NDArray[np.int32]"

    def __iter__(self) -> "Iterator[Trained]":
        return iter(self.trained)

    def __len__(self) -> int:
        return len(self.trained)

    def cells(self) -> Cells:
        """Titles, and the text of each row."""
        from headbench.classify.metrics import accuracy
        from headbench.classify.wording import describe_choice, percent

        titles = ("head", f"val top-1 (n={len(self.y_val)})", "fit", "chosen on val")
        rows: list[tuple[str, ...]] = [
            (
                each.record.name,
                percent(accuracy(self.y_val, each.val)),
                f"{each.record.fit_seconds:.1f} s",
                describe_choice(each.record.chosen),
            )
            for each in self.trained
        ]
        return titles, rows


@dataclass(frozen=True, repr=False)
class Predictions(Table):
    """Predictions for image files, in the order given.

    Attributes
    ----------
    predictions : sequence of headbench.classify.deployment.prediction.Prediction
    """

    predictions: "Sequence[Prediction]"

    def __iter__(self) -> "Iterator[Prediction]":
        return iter(self.predictions)

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, row: int) -> "Prediction":
        return self.predictions[row]

    def cells(self) -> Cells:
        """Titles, and the text of each row."""
        n_top = max((len(each.top) for each in self.predictions), default=0)
        has_sets = any(each.doubt.possible is not None for each in self.predictions)
        ranks = range(1, n_top + 1)
        names = [f"{title} {rank}" for rank in ranks for title in ("class", "probability")]
        rows = []
        for each in self.predictions:
            top = [cell for name, proba in each.top for cell in (name, f"{proba:.3f}")]
            padding = [""] * (2 * n_top - len(top))
            doubt = each.doubt
            doubts = ["" if doubt.typicality is None else f"{doubt.typicality:.3f}"]
            if has_sets:
                doubts.append(", ".join(doubt.possible or ()))
            answer = (str(each.path), each.label or "", *top, *padding)
            rows.append((*answer, *doubts, each.reason or ""))
        sets = ("set",) if has_sets else ()
        return ("image", "answer", *names, "typicality", *sets, "not usable"), rows


@dataclass(frozen=True, repr=False)
class Similar(Table):
    """Images that are like others, for each query in the order given.

    Attributes
    ----------
    alike : tuple of headbench.classify.deployment.similar_images.Alike
    """

    alike: "tuple[Alike, ...]"

    def __iter__(self) -> "Iterator[Alike]":
        return iter(self.alike)

    def __len__(self) -> int:
        return len(self.alike)

    def cells(self) -> Cells:
        """Titles, and the text of each row."""
        titles = ("image", "similarity", "class", "split", "similar image", "not usable")
        rows: list[tuple[str, ...]] = []
        for each in self.alike:
            rows += [(each.path, *near.caption[:4], "") for near in each.similar]
            if not each.similar:
                rows.append((each.path, "", "", "", "", each.error or ""))
        return titles, rows


@dataclass(frozen=True, repr=False)
class Suggestions(Table):
    """Images to label next, the most wanted first.

    Attributes
    ----------
    suggestions : tuple of headbench.classify.deployment.suggested_images.Suggestion
    """

    suggestions: "tuple[Suggestion, ...]"

    def __iter__(self) -> "Iterator[Suggestion]":
        return iter(self.suggestions)

    def __len__(self) -> int:
        return len(self.suggestions)

    def cells(self) -> Cells:
        """Titles, and the text of each row."""
        rows: list[tuple[str, ...]] = [
            (each.path, each.guess, f"{each.probability:.3f}", f"{each.margin:.3f}")
            for each in self.suggestions
        ]
        return ("image", "guess", "probability", "margin"), rows


@dataclass(frozen=True, repr=False)
class Report(Table):
    """A report that was written.

    Attributes
    ----------
    written : headbench.classify.report.summary.WrittenReport
        Every figure of it, and the pictures.
    folder : Path
        Holds ``index.html``, ``results.md`` and ``results.json``.
    """

    written: "WrittenReport"
    folder: Path

    @property
    def results(self) -> "Results":
        """Every figure of it."""
        return self.written.results

    @property
    def answer(self) -> str:
        """Which head to use, in a sentence."""
        from headbench.classify.report.table import answer

        return _shown(answer(self.results))

    def cells(self) -> Cells:
        """Titles, and the text of each row."""
        from headbench.classify.report.table import SHORT_COLUMNS, rows

        titles = tuple(column.title for column in SHORT_COLUMNS)
        return titles, rows(self.results, SHORT_COLUMNS)

    def __str__(self) -> str:
        from headbench.classify.report.table import as_text

        return _shown(as_text(self.results))

    def _repr_html_(self) -> str:
        from headbench.classify.report.summary import summary_html

        return summary_html(self.written)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Runs compared on the same test images.

    Attributes
    ----------
    versus : headbench.classify.report.versus.Versus
        Every figure of it.
    page : Path
        The same to look at in a browser.
    """

    versus: "Versus"
    page: Path

    def __repr__(self) -> str:
        from headbench.classify.report.versus import as_text

        return _shown(as_text(self.versus))


@dataclass(frozen=True, repr=False)
class Networks(Table):
    """Networks tried on a sample, the best first.

    Attributes
    ----------
    choice : headbench.classify.studies.network_choice.NetworkChoice
        Every figure of it.
    """

    choice: "NetworkChoice"

    @property
    def command(self) -> str:
        """Embeds all images with the best network."""
        return self.choice.best.command

    def cells(self) -> Cells:
        """Titles, and the text of each row."""
        from headbench.classify.studies.network_choice import table

        return table(self.choice)

    def __str__(self) -> str:
        from headbench.classify.studies.network_choice import as_text

        return _shown(as_text(self.choice))


@dataclass(frozen=True, repr=False)
class Findings:
    """What the doctor found.

    Attributes
    ----------
    diagnosis : headbench.classify.doctor.finding.Diagnosis
    """

    diagnosis: "Diagnosis"

    @property
    def is_severe(self) -> bool:
        """Whether anything found makes the results worthless."""
        return self.diagnosis.is_severe

    def __repr__(self) -> str:
        from headbench.classify.doctor.diagnosis_report import as_text

        return _shown(as_text(self.diagnosis))


def _shown(text: str) -> str:
    """Text without what a terminal obeys."""
    return UNSHOWN.sub("?", text)
