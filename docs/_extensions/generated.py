# SPDX-License-Identifier: MIT
"""The directives `configuration` and `commands`: pages made from the code they describe."""

from __future__ import annotations

from collections.abc import Callable

from commands import command_pages
from configuration import configuration_page
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def directive(write: Callable[[], str]) -> type[SphinxDirective]:
    """Return a directive that stands for the Markdown of a function, with its headings."""

    class Generated(SphinxDirective):
        def run(self) -> list[nodes.Node]:
            self.env.note_reread()  # what it is made from is no page
            parts = self.parse_text_to_nodes(write(), allow_section_headings=True)
            for part in parts:
                for table in part.findall(nodes.table):
                    table["classes"].append("generated")  # see site.css
            return parts

    return Generated


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both directives."""
    app.add_directive("configuration", directive(configuration_page))
    app.add_directive("commands", directive(command_pages))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
