"""The documents beside ``docs/`` as pages of the site, and links that fit there.

Belongs here: which documents and files of the repository the site has, and what of their text
MkDocs reads differently from GitHub. Does not belong: generated pages (``command_page``,
``table_page``).
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Each with its path in the site, whose root is `docs/`.
DOCUMENTS = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "queries/README.md": "questions.md",
    "dbt_style_sql/README.md": "sql-models.md",
}
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^```(\w+) [^\n]+$", re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```[ ]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the documents, and every other file of the repository that a page links to."""
    for name, page_name in DOCUMENTS.items():
        files.append(File.generated(config, page_name, abs_src_path=str(ROOT / name)))
    for page in files.documentation_pages():
        if not (source := Path(page.abs_src_path or "")).is_file():
            continue
        for _, link, _ in _LINK.findall(_without_code(source.read_text())):
            linked = _linked(source, link)
            if linked and linked.is_file() and not files.get_file_from_path(_in_site(linked)):
                files.append(File.generated(config, _in_site(linked), abs_src_path=str(linked)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to where their targets are in the site."""
    del config
    # In README.md, a second word after ``` tells the tests how to run the block.
    markdown = _FENCE.sub(r"```\1", markdown)
    source = Path(page.file.abs_src_path or "")
    if page.file.abs_src_path is None or not source.is_relative_to(ROOT):
        return markdown

    def lead(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        linked = _linked(source, link)
        if linked is None:
            return match[0]
        target = _in_site(linked / "README.md" if linked.is_dir() else linked)
        if files.get_file_from_path(target) is None:
            return match[0]  # MkDocs says that it leads nowhere.
        relative = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        _, hash_sign, anchor = link.partition("#")
        return f"{before}{relative}{hash_sign}{anchor}{after}"

    parts = _CODE.split(markdown)
    return "".join(part if at % 2 else _LINK.sub(lead, part) for at, part in enumerate(parts))


def _without_code(markdown: str) -> str:
    return "".join(_CODE.split(markdown)[::2])


def _linked(source: Path, link: str) -> Path | None:
    """Return the file of the repository to which a link of a document leads, if to any."""
    name = link.partition("#")[0]
    if not name or re.match(r"\w+:", name):
        return None
    path = Path(posixpath.normpath(source.parent / name))
    return path if path.is_relative_to(ROOT) else None


def _in_site(path: Path) -> str:
    """Return where a file of the repository is in the site, relative to its root."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name in DOCUMENTS:
        return DOCUMENTS[name]
    # Names with a leading dot are hidden by many servers, and browsers show texts.
    hidden = re.sub(r"(^|/)\.", r"\1", name)
    return f"files/{hidden}.txt"
