# SPDX-License-Identifier: Apache-2.0
"""What all report pages share: their templates, and plots as part of them."""

import io
from typing import Any

import jinja2
import matplotlib
from matplotlib import figure

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.PackageLoader('neucrab_jax.benchmark', '.'),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)


def render(template: str, **context: Any) -> str:
  """A template of this package as HTML, which needs no file and no network."""
  return _ENVIRONMENT.get_template(template).render(**context)


def svg(plot: figure.Figure) -> str:
  """A figure as an element of a page; the same figure gives the same bytes."""
  text = io.StringIO()
  # Letters stay letters: a page of many plots is a third of the size.
  with matplotlib.rc_context(
    {'svg.fonttype': 'none', 'svg.hashsalt': 'neucrab_jax'}
  ):
    plot.savefig(text, format='svg', metadata={'Date': None})
  found = text.getvalue()
  return found[found.index('<svg') :]
