"""MkDocs hook: formulas become MathML when the site is built, so that a page needs no script and no network for them."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves of $...$ and $$...$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Turn the formulas of a page, whose HTML MkDocs hands over, into MathML."""
    content = INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
    return DISPLAY.sub(lambda found: f'<div class="formula">{convert(html.unescape(found[1]), display="block")}</div>', content)
