# SPDX-License-Identifier: Apache-2.0
"""What all report pages share: their templates."""

import json
from typing import Any

import jinja2
import msgspec

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
