"""Self-contained HTML pages: text, tables and figures in one file that opens anywhere.

No script and nothing from elsewhere: images are embedded as PNG. Readable on a phone and on paper.
"""

import base64
import html
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eokeras.ben_ge.schema import SIMULATED
from eokeras.errors import InvalidArgumentError, UnwritableError

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1.25rem 4rem; color: #1d2733; background: #fff;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1rem 0 .25rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid #dde3ea; }
p { margin: .6rem 0; max-width: 44rem; }
.lead { color: #44515f; font-size: 1.08rem; }
.note { margin: .8rem 0; padding: .6rem .9rem; max-width: 44rem; background: #fff6e0; border-left: 4px solid #d99100; }
nav { margin: 1rem 0; }
nav a { display: inline-block; margin: 0 1rem .35rem 0; color: #0060a0; }
figure { margin: 1.25rem 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption, caption { color: #44515f; font-size: .9rem; max-width: 44rem; text-align: left; }
figcaption { margin-top: .4rem; }
caption { caption-side: top; margin-bottom: .4rem; }
.table { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #e6ebf0;
  white-space: nowrap; }
td.wrap { white-space: normal; min-width: 14rem; }
th { border-bottom: 2px solid #9aa7b4; font-weight: 600; }
td.number { text-align: right; }
pre { padding: .8rem 1rem; overflow-x: auto; font-size: .86rem; line-height: 1.45; background: #f5f7f9; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid #dde3ea; color: #5c6874; font-size: .88rem; }
@media (max-width: 40rem) { body { padding: 1rem .9rem 3rem; } h1 { font-size: 1.5rem; }
  table { font-size: .8rem; } th, td { white-space: normal; padding-right: .55rem; } td.wrap { min-width: 9rem; }
  figure { overflow-x: auto; } figure img { max-width: 180%; } figcaption { position: sticky; left: 0; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  .table { overflow: visible; } figure, tr, .note { break-inside: avoid; } h2 { break-after: avoid; } }
"""

_LONG_CELL = 48  # characters after which a cell may wrap


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure with what it shows in words, for those who cannot see it."""

    figure: object
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text or numbers under headings; `caption` says what they are."""

    headings: Sequence[str]
    rows: Sequence[Sequence]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One section of a page, shown in this order.

    Attributes:
        title: heading, also the entry in the list of contents.
        text: paragraphs, separated by an empty line.
        notes: sentences that must not be overlooked, such as what simulated data can show.
        tables, figures: what it shows.
        code: text in fixed width, such as a command.
    """

    title: str
    text: str = ""
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()
    code: str = ""


def write_report(
    path: str | Path, *, title: str, sections: Sequence[Section], summary: str = "", footer: str = ""
) -> Path:
    """Writes a self-contained HTML page, whole or not at all; replaces an older page.

    Args:
        path: the file, ending in `.html`.
        title: of the page.
        sections: its content in order. All text is escaped: it is text, not HTML.
        summary: what the page shows, under the title.
        footer: how it was made, at the end.

    Returns:
        `path`.

    Raises:
        InvalidArgumentError: a row of a table does not fit its headings, or a picture has no `alt`.
        UnwritableError: the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> page = Path(tempfile.mkdtemp()) / "report.html"
        >>> write_report(page, title="Scores", sections=[Section("Season", "MAE 0.07.")]) == page
        True
    """
    path = Path(path)
    content = render(title=title, sections=sections, summary=summary, footer=footer)
    unfinished = path.with_name(f".{path.name}.incomplete")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(content, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise UnwritableError(f"`path` must be writable. Received: {path} ({error.strerror}).") from error
    return path


def render(*, title: str, sections: Sequence[Section], summary: str = "", footer: str = "") -> str:
    """The page of `write_report` as text."""
    links = "".join(
        f'<a href="#section-{index}">{html.escape(section.title)}</a>' for index, section in enumerate(sections, 1)
    )
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="lead">{html.escape(summary)}</p>' if summary else "",
        f'<nav aria-label="Contents">{links}</nav>' if len(sections) > 2 else "",
        *(_section(section, index) for index, section in enumerate(sections, 1)),
        f"<footer>{html.escape(footer)}</footer>" if footer else "",
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    )
    text = "\n".join(part for part in body if part)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{text}\n</body>\n</html>\n'


def score_tables(scores) -> tuple[Table, ...]:
    """Tables of `eokeras.evaluate.Scores` for a `Section`: one per target, these scores before the baselines."""
    headings = ("metric", "predictor", "value", "95 % interval", "resampled")
    rows = scores.rows()
    return tuple(
        Table(headings, [row[1:] for row in rows if row[0] == task], caption=_task_caption(score))
        for task, score in scores.tasks.items()
    )


def comparison_section(
    comparisons: Sequence = (),
    *,
    importance=None,
    subsets=None,
    sharing=None,
    title: str = "Comparisons",
    text: str = "",
    simulated: bool = False,
) -> Section:
    """A section of paired comparisons, modality importance, subsets of modalities and sharing, of those that are given.

    Args:
        comparisons: `Comparison` and `ReplicateComparison` objects of `eokeras.evaluate`.
        importance: `ModalityImportance`.
        subsets: `SubsetScores`, or `SubsetComparison` for two models side by side.
        sharing: `SharingComparison` or `SharingReplicates`.
        title, text: of the section.
        simulated: whether the data come from the simulator, where only replicates are given.

    Returns:
        A `Section` with a figure and a table for each, and every sentence that must stand beside them.

    Raises:
        InvalidArgumentError: nothing was given.
    """
    from eokeras import plot  # matplotlib, which a page of text does without
    from eokeras.evaluate.comparison import family_sentences

    results = [*comparisons, *(result for result in (importance, subsets, sharing) if result is not None)]
    if not results:
        raise InvalidArgumentError("`comparisons`, `importance`, `subsets` or `sharing` must be given. Received: none.")
    figures, tables = [], []
    if comparisons:
        figures.append(Picture(plot.comparison_chart(comparisons, simulated=simulated), "Paired differences"))
        tables += _comparison_tables(comparisons)
    if importance is not None:
        alt = "What the model loses when one modality is shuffled across the patches"
        figures.append(Picture(plot.importance_chart(importance), alt))
        tables.append(Table(importance.headings, importance.rows(), caption=alt))
    if subsets is not None:
        sides = (subsets.first, subsets.second) if hasattr(subsets, "first") else (subsets,)
        alt = "Scores of every subset of modalities"
        figures.append(Picture(plot.subset_chart(*sides), alt))
        tables.append(Table(subsets.headings, subsets.rows(), caption=alt))
    if sharing is not None:
        alt = f"{sharing.multitask} against {sharing.reference}, task by task"
        figures.append(Picture(plot.sharing_chart(sharing), alt))
        tables.append(Table(sharing.headings, sharing.rows(), caption=alt))
        costs = sharing.costs
        tables += [Table(costs.headings, costs.rows(), caption="What both cost")] if costs else []
    notes = [SIMULATED] if simulated else []
    notes += [sentence for result in results for sentence in getattr(result, "sentences", ())]
    families = [getattr(result, "comparisons", {}).values() for result in (importance, subsets)]
    notes += family_sentences([*comparisons, *(item for family in families for item in family)])
    return Section(title, text, notes=tuple(dict.fromkeys(notes)), tables=tables, figures=figures)


def _comparison_tables(comparisons) -> list[Table]:
    tables = [Table(item.headings, item.rows(), "Paired differences") for item in comparisons if hasattr(item, "rows")]
    replicates = [(f"{item.first} - {item.second}", str(item)) for item in comparisons if not hasattr(item, "rows")]
    caption = "Paired differences over worlds or seeds"
    return [*tables, *([Table(("comparison", "result"), replicates, caption)] if replicates else [])]


def _task_caption(score) -> str:
    return f"{score.task}: {score.patches} patches with a label" + (f"; {score.note}" if score.note else "")


def _section(section: Section, index: int) -> str:
    paragraphs = [part.strip() for part in section.text.split("\n\n") if part.strip()]
    parts = [f'<section id="section-{index}">', f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs]
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in section.notes]
    parts += [_table(table) for table in section.tables]
    parts += [_picture(picture) for picture in section.figures]
    if section.code:
        parts.append(f"<pre>{html.escape(section.code)}</pre>")
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.headings):
            raise InvalidArgumentError(
                f"A row of `rows` must have {len(table.headings)} cells, one per heading. Received: {tuple(row)!r}."
            )
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    head = "".join(f'<th scope="col">{html.escape(str(heading))}</th>' for heading in table.headings)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return (
        f'<div class="table" tabindex="0"><table>{caption}\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(value) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:,}" if is_number else str(value)
    kind = "number" if is_number else "wrap" if len(text) > _LONG_CELL else ""
    return f'<td class="{kind}">{html.escape(text)}</td>' if kind else f"<td>{html.escape(text)}</td>"


def _picture(picture: Picture) -> str:
    if not picture.alt.strip():
        raise InvalidArgumentError("`alt` of a `Picture` must say what it shows. Received: an empty text.")
    buffer = io.BytesIO()
    picture.figure.savefig(buffer, format="png", dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = round(picture.figure.get_figwidth() * 96)  # CSS pixels, so that type keeps its size
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(picture.alt)}" width="{width}">'
        f"{caption}</figure>"
    )
