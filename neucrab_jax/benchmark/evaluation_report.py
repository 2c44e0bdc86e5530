# SPDX-License-Identifier: Apache-2.0
"""`report.html` of an evaluation: one self-contained page."""

import json
from collections.abc import Mapping
from typing import Any

import jinja2

from neucrab_jax.benchmark import evaluation_plots, metrics

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.PackageLoader('neucrab_jax.benchmark', '.'),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)


def _number(value: float | None, digits: int = 3) -> str:
  """With a true minus; what is not defined is a dash."""
  if value is None:
    return '–'
  return f'{value:.{digits}f}'.replace('-', '−')


def page(template: str, **context: Any) -> str:
  """Renders a template, with how numbers look."""
  return _ENVIRONMENT.get_template(template).render(
    number=_number,
    shade=evaluation_plots.shade,
    ink=evaluation_plots.ink,
    **context,
  )


def _scatters(duel: Mapping[str, Any]) -> dict[str, list[str]]:
  """By task, a plot for each measure and control that has scores."""
  judged = {
    row['name']: row
    for row in duel['rows']
    if row['role'] != 'ceiling' and 'leave_one_out' in row
  }
  return {
    task: [
      evaluation_plots.scatter(
        points,
        name,
        tau=row['tasks'][task]['metrics']['kendall_tau']['value'],
      )
      for name, row in judged.items()
    ]
    for task, points in duel['points'].items()
  }


def _costs(duel: Mapping[str, Any]) -> list[str]:
  """Agreement against seconds, and against FLOPs, where they are known."""
  taus = {row['name']: row['average']['kendall_tau'] for row in duel['rows']}
  seconds, flops = [], []
  for name, costs in duel['cost']['measures'].items():
    tau = taus[name]
    row = {'name': name, 'tau': tau['value']}
    row |= {'low': tau['low'], 'high': tau['high']}
    if tau['value'] is None:
      continue
    if costs['extract_seconds'] is not None:
      total = costs['extract_seconds'] + costs['score_seconds']
      seconds.append({**row, 'cost': total})
    if costs['flops'] is not None:
      flops.append({**row, 'cost': costs['flops']})
  truth = duel['cost']['fine_tuning']
  return [
    evaluation_plots.cost(rows, unit=unit, fine_tuning=truth[key])
    for rows, unit, key in (
      (seconds, 'seconds', 'seconds'),
      (flops, 'FLOPs (estimated)', 'flops'),
    )
    if rows
  ]


def _extremes(taus: Mapping[str, float | None]) -> list[tuple[str, float]]:
  """The lowest and the highest τ without one checkpoint, and which."""
  known = [(name, tau) for name, tau in taus.items() if tau is not None]
  if not known:
    return []
  return [pick(known, key=lambda pair: pair[1]) for pick in (min, max)]


def render(evaluation: dict[str, Any], *, config: dict[str, Any]) -> str:
  """Renders the page.

  Args:
    evaluation: the record of `evaluation.json`.
    config: what the run was asked for.

  Returns:
    HTML that needs no other file and no network.
  """
  files = [source['file'] for source in evaluation['sources']]
  return page(
    'evaluation.html.j2',
    evaluation=evaluation,
    # The paper's form; the other reading of Recall is with the details.
    columns=list(metrics.METRICS)[:7],
    metrics={name: label for name, (label, _) in metrics.METRICS.items()},
    scatters=[_scatters(duel) for duel in evaluation['contests']],
    costs=[_costs(duel) for duel in evaluation['contests']],
    extremes=_extremes,
    cite=lambda file: files.index(file) + 1 if file in files else None,
    config=json.dumps(config, indent=2),
  )
