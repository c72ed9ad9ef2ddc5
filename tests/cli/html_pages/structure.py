"""What every page must be: whole, by itself, and readable by those who can't see it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

_VOID = {"meta", "br", "hr", "img", "link", "input"}
_FORBIDDEN = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "foreignobject"}
_OUTSIDE = re.compile(r"https?:|url\(|@import|javascript:|//", re.IGNORECASE)


class Structure(HTMLParser):
    """Reads a page, and complains of what must not be. charts: title and desc of each; captions:
    of the tables, with their rows; text: all of it, styles left out."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = page
        self.complaints: list[str] = []
        self.charts: list[tuple[str, str]] = []
        self.captions: list[tuple[str, int]] = []
        self.figures: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._ids: list[str] = []
        self._links: list[str] = []
        self._texts: dict[str, str] = {}
        self.feed(page)
        self.close()
        self._check()

    @property
    def text(self) -> str:
        """What a reader sees and hears."""
        return " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _FORBIDDEN:
            self.complaints.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or _OUTSIDE.search(value or ""):
                self.complaints.append(f"{tag} {name}={value}")
        if "id" in given:
            self._ids.append(given["id"] or "")
        if tag == "a":
            self._links.append((given.get("href") or "").removeprefix("#"))
        if tag == "th" and given.get("scope") not in ("row", "col"):
            self.complaints.append("a <th> without scope")
        if tag == "svg" and given.get("role") != "img":
            self.complaints.append("an <svg> that is no image")
        if tag in ("svg", "table", "figure"):
            self._texts |= {"title": "", "desc": "", "caption": "", "figcaption": "", "rows": "0"}
        if tag == "tr":
            self._texts["rows"] = str(int(self._texts.get("rows", "0")) + 1)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.complaints.append(f"</{tag}> closes another")
        if tag == "svg":
            self.charts.append((self._texts["title"], self._texts["desc"]))
        if tag == "table":
            self.captions.append((self._texts["caption"], int(self._texts["rows"])))
        if tag == "figcaption":
            self.figures.append(self._texts["figcaption"])

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "style":
            if _OUTSIDE.search(data):
                self.complaints.append("a style that fetches")
            return
        self.words.append(data)
        # The title of a chart, and not of a bar in it.
        if inside == "title" and "svg" in self._open and self._open[-2] != "svg":
            return
        for name in ("title", "desc", "caption", "figcaption"):
            if name in self._open:
                self._texts[name] = self._texts.get(name, "") + data

    def _check(self) -> None:
        if self._open:
            self.complaints.append(f"left open: {self._open}")
        if len(set(self._ids)) != len(self._ids):
            self.complaints.append(f"ids that are not unique: {self._ids}")
        self.complaints += [f"a link to nowhere: {each}" for each in {*self._links} - {*self._ids}]
        self.complaints += ["a chart without words"] * sum(not all(each) for each in self.charts)
        self.complaints += ["a table without caption"] * sum(not c for c, _ in self.captions)
        self.complaints += ["a figure without sentence"] * sum(not each for each in self.figures)
        for picture in re.findall(r"<svg.*?</svg>", self.page, re.DOTALL):
            ElementTree.fromstring(picture)
