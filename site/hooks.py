"""For mkdocs: links as GitHub understands them, and a check of all of them."""

import pathlib
import posixpath
import re
import unicodedata

LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_anchors, _links = {}, []


def slugify(text, separator):
    """The anchor that GitHub gives a heading, so that links work in both places."""
    text = unicodedata.normalize("NFC", text).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", separator)


def on_config(config):
    config["mdx_configs"].setdefault("toc", {})["slugify"] = slugify
    return config


def on_page_markdown(markdown, page, config, files):
    """Files outside docs/ are not part of the site: links to them become text."""
    del files
    top = pathlib.Path(config["docs_dir"]).resolve()
    folder = pathlib.Path(page.file.abs_src_path).parent

    def text_of(found):
        target = found[2].partition("#")[0]
        inside = not target or re.match(r"[a-z]+:", target) or top in (folder / target).resolve().parents
        return found[0] if inside else found[1]

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(text_of, part) for part in parts)


def on_page_content(html, page, config, files):
    del config, files
    _anchors[page.file.dest_uri] = set(re.findall(r'\bid="([^"]+)"', html))
    for target in re.findall(r'href="([^"]+)"', html):
        if "#" in target and not re.match(r"[a-z]+:", target):
            _links.append((page.file.dest_uri, target))
    return html


def on_post_build(config):
    del config
    wrong = []
    for page, target in _links:
        path, _, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        if anchor not in _anchors.get(file, ()):
            wrong.append(f"{page}: {target}")
    if wrong:
        raise SystemExit("links to headings that do not exist:\n" + "\n".join(wrong))
