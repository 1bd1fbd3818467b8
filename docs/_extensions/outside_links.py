# SPDX-License-Identifier: MIT
"""Links to files of the project that are no pages: to the repository where one is named."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def resolve(app: Sphinx, doctree: nodes.document) -> None:
    """Replace links that leave docs/ by links to the repository, or by the path as text.

    What is not there stays as it is: Sphinx warns of it.
    """
    project = Path(app.srcdir).parent.resolve()
    page = Path(app.env.doc2path(app.env.docname))
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = link.get("reftarget", "")
        if link.get("refdomain") == "doc":  # what ends in .md, from docs/ or from the root of disks
            place = Path(app.srcdir, f"{target}.md").resolve()
        else:
            place = (page.parent / target).resolve()
        outside = place.is_relative_to(project) and not place.is_relative_to(project / "docs")
        if not (outside and place.exists()):
            continue
        path = place.relative_to(project).as_posix()
        if app.config.repository:
            uri = f"{app.config.repository}/{path}"
            link.replace_self(nodes.reference("", "", *link.children, refuri=uri))
        else:
            path_in_brackets = (nodes.Text(" ("), nodes.literal("", path), nodes.Text(")"))
            link.replace_self([*link.children, *path_in_brackets])


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the configuration value `repository`, the address that paths are appended to."""
    app.add_config_value("repository", "", "env", types=frozenset({str}))
    app.connect("doctree-read", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
