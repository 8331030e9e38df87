"""What a browser would make of a page."""

import re
from html.parser import HTMLParser

_EMPTY = {"meta", "img", "br", "link", "input", "hr"}


class PageReader(HTMLParser):
    """Sections of a page by title: their text, and how many figures and tables they have; fails on tags left open."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.open, self.ids, self.links, self.labels = {}, [], [], [], []
        self.title = None
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src", "xlink:href") if name in given]
        if tag in ("svg", "img"):
            self.labels.append(given.get("aria-label") or given.get("alt"))
        if self.title and tag in ("svg", "img", "table", "code"):
            self.sections[self.title][tag] += 1
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in _EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.title = data
            self.sections[data] = {"svg": 0, "img": 0, "table": 0, "code": 0, "text": ""}
        elif self.title:
            self.sections[self.title]["text"] += re.sub(r"\s+", " ", data)
