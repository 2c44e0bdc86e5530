# SPDX-License-Identifier: Apache-2.0
"""Plots as elements of a page.

Apart from what other pages need: matplotlib takes a second to import.
"""

import io
import warnings

import matplotlib
from matplotlib import figure

from neucrab_jax import spelling

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
