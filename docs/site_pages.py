"""A hook of mkdocs: pages that stand beside docs/ join the site, and links between all of them hold.

README.md is the site's first page. A link to a file that is no page, such as a module, becomes its name.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parent.parent

# Page of the site -> file of the project.
BESIDE = {
    "index.md": "README.md",
    **{
        name: name
        for pattern in (
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "benchmarks/*.md",
            "examples/*.md",
            "examples/*/*.md",
        )
        for name in (path.relative_to(PROJECT).as_posix() for path in PROJECT.glob(pattern))
    },
}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages beside docs/, and the pictures of examples."""
    for page, name in BESIDE.items():
        files.append(File.generated(config, page, content=(PROJECT / name).read_text()))
    for picture in (PROJECT / "examples").glob("*/*.png"):
        name = str(picture.relative_to(PROJECT))
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links to the project's files as links to the site's pages."""
    source = BESIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    folder = PurePosixPath(source).parent

    def link(found: re.Match[str]) -> str:
        text, path, anchor = found[1], normpath(str(folder / found[2])), found[3] or ""
        target = site_page(path)
        if files.get_file_from_path(target) is None:
            if not (PROJECT / path).exists():
                return found[0]  # dead: mkdocs says so
            return text
        depth = len(PurePosixPath(page.file.src_uri).parts) - 1
        return f"[{text}]({'../' * depth}{target}{anchor})"

    return re.sub(r"(!\[[^\]]*\]\()docs/", r"\1", _LINK.sub(link, markdown))


def site_page(path: str) -> str:
    """The site's page for a file of the project, both relative to their roots."""
    for page, name in BESIDE.items():
        if path in (name, name.removesuffix("/README.md")):
            return page
    return path.removeprefix("docs/")
