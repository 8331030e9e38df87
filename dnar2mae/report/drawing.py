"""Figures as SVG inside the page: their text is text, and their colours are the page's, light or dark."""

import re
from base64 import b64encode
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from dnar2mae.plots.figure import new_figure

# Colours that a colour-blind reader tells apart (Okabe and Ito, black for yellow), the ink, the greys of the plots:
# matplotlib writes them into the SVG, where each becomes a variable that the page sets for light and for dark.
_CYCLE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#040506", "#7f7f7f")
_INK = "#010203"
_LEGEND_PT = 9  # 8, as in a wider figure, is too small on a phone
_VARIABLES = {colour: f"var(--c{number})" for number, colour in enumerate(_CYCLE)}
_VARIABLES |= {_INK: "currentColor", "#999999": "var(--faint)", "#666666": "var(--faint)"}
_DROPPED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)


def svg(name: str, alt: str, draw: Callable[[Any], None], *, width: float = 4.5, height: float = 3.3) -> Markup:
    """Return a figure with one pair of axes as an SVG element.

    Parameters
    ----------
    name
        Of the figure; no other of the page has it.
    alt
        What the figure shows, for a reader who does not see it.
    draw
        Draws on the axes.
    width, height
        In inches; 4.5 is the width of a phone, on which the text is then as large as it says.
    """
    import matplotlib as mpl
    from cycler import cycler

    style: Any = {
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
        "axes.prop_cycle": cycler(color=_CYCLE),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.sans-serif": ["DejaVu Sans"],
        "svg.fonttype": "none",
        "text.parse_math": False,  # names of classes may have a $
        # the same page for the same run: names of clip paths and markers follow from their content and this
        "svg.hashsalt": name,
    }
    with mpl.rc_context(style):
        figure = new_figure(width, height)
        axes = figure.subplots()
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_formatter("{x:g}")  # powers would be mathematics, which is not parsed here
        legend = axes.get_legend()
        for text in legend.get_texts() if legend else ():
            text.set_fontsize(_LEGEND_PT)
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True)
    return Markup(_inside_html(file.getvalue(), alt))


def image(path: Path, alt: str) -> Markup:
    """Return a PNG file as an element that holds its data."""
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(alt, b64encode(path.read_bytes()).decode())


def _inside_html(text: str, alt: str) -> str:
    """Return an SVG file as an element of HTML: no prologue, no addresses, no size, only those names that are used."""
    text = _DROPPED.sub("", text)
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None, "matplotlib writes a viewBox"
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return f'<svg role="img" aria-label="{escape(alt)}" {box[0]}>{body}'.replace("xlink:href", "href")
