# SPDX-License-Identifier: Apache-2.0
"""Sphinx's configuration."""

from importlib.metadata import version as version_of

project = "abis"
author = copyright = "the abis authors"  # noqa: A001 - Sphinx's name
version = release = version_of("abis")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"abis {version}"
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
