# SPDX-License-Identifier: Apache-2.0
"""What all report pages share: their templates, and plots as part of them."""

import io
import json
import warnings
from typing import Any

import jinja2
import matplotlib
import msgspec
from matplotlib import figure

from neucrab_jax import spelling


def _finalize(value: Any) -> Any:
  """Shows the control characters of a name; what is marked safe stays."""
  if type(value) is str:
    return '\n'.join(map(spelling.visible, value.split('\n')))
  return value


_ENVIRONMENT = jinja2.Environment(
  finalize=_finalize,
  loader=jinja2.PackageLoader('neucrab_jax.reports'),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)
_ENVIRONMENT.filters['fields'] = msgspec.to_builtins


def _number(value: float | None, digits: int = 3) -> str:
  """With a true minus; what is not defined is a dash."""
  if value is None:
    return '–'
  return f'{value:.{digits}f}'.replace('-', '−')


def render(template: str, *, config: dict[str, Any], **context: Any) -> str:
  """A template of this package as HTML, which needs no file and no network.

  Args:
    template: its file's name.
    config: what the run was asked for.
    **context: what else the template takes.
  """
  return _ENVIRONMENT.get_template(template).render(
    number=_number, config=json.dumps(config, indent=2), **context
  )


# Letters of a name that a plot has room for.
_ROOM = 60


def label(text: str) -> str:
  """A name for a plot: not too long, its dollar signs no formula's."""
  text = spelling.visible(text)
  if len(text) > _ROOM:
    text = f'{text[: _ROOM // 2]}…{text[-_ROOM // 2 :]}'
  return text.replace('$', r'\$')


def svg(plot: figure.Figure) -> str:
  """A figure as an element of a page; the same figure gives the same bytes."""
  text = io.StringIO()
  # Letters stay letters: a page of many plots is a third of the size.
  with (
    matplotlib.rc_context(
      {'svg.fonttype': 'none', 'svg.hashsalt': 'neucrab_jax'}
    ),
    warnings.catch_warnings(),
  ):
    # Of letters that its font has not: the browser's may have them.
    warnings.filterwarnings('ignore', 'Glyph')
    plot.savefig(text, format='svg', metadata={'Date': None})
  found = text.getvalue()
  return found[found.index('<svg') :]
