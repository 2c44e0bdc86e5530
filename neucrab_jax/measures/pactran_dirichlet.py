# SPDX-License-Identifier: Apache-2.0
"""PACTran-Dirichlet: a PAC-Bayesian bound on the source head's output.

Axes: N examples, C classes, Z source classes.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

_EPSILON = 1e-10


def pactran_dirichlet(
  *,
  source_probs: Float[Array, 'N Z'],
  labels: Int[Array, 'N'],
  strength: float = 1.0,
  num_iterations: int = 10,
) -> measure.Score:
  """Evidence lower bound of labels whose class depends on the source class.

      P(y | z) ~ Dirichlet(strength · P(y)),  y_i ~ P(· | z_i),  z_i ~ θ(x_i)
      q_i(z)   ∝ θ(x_i)_z exp(ψ(a_{y_i z}) − ψ(Σ_y a_yz))
      a_yz     = strength · P(y) + Σ_{i: y_i = y} q_i(z)

  and the bound after `num_iterations` of the last two, divided by N C.

  Args:
    source_probs: [N, Z], θ; rows sum to one.
    labels: [N], integers from 0 to C − 1.
    strength: of the prior, in examples.
    num_iterations: of the variational updates.

  Returns:
    A number in nats.

  Reference:
    Ding et al., "PACTran: PAC-Bayesian Metrics for Estimating the
    Transferability of Pretrained Models to Classification Tasks", ECCV 2022,
    section 4.1.
  """
  q = probs = np.asarray(source_probs, np.float64)
  log_s = np.log(probs + _EPSILON)
  labels = np.asarray(labels)
  members = float64.one_hot(labels)
  shares = members.mean(axis=0)
  prior = strength * shares + _EPSILON  # [C]
  counts = np.zeros((len(prior), probs.shape[1]))
  for _ in range(num_iterations):
    counts = prior[:, None] + members.T @ q  # [C, Z]
    logits = log_s + special.digamma(counts)[labels]
    q = special.softmax(logits - special.digamma(counts.sum(axis=0)), axis=1)
  by_source = special.gammaln(prior.sum()) - special.gammaln(prior).sum()
  by_source -= special.gammaln(counts.sum(axis=0))
  by_source += special.gammaln(counts).sum(axis=0)
  # 0 log 0 is 0.
  divergence = special.xlogy(q, q).sum(axis=1) - np.sum(q * log_s, axis=1)
  evidence = by_source.sum() - divergence.sum()
  # At its maximum, a bound does not change by the q.
  gain = special.digamma(counts) - special.digamma(counts.sum(axis=0))
  by_prior = strength * np.sum(
    special.digamma(counts) - special.digamma(prior)[:, None], axis=1
  )
  influence = np.sum(q * gain[labels], axis=1) - divergence
  influence += by_prior[labels] / len(labels)
  return measure.Score(
    evidence / members.size, influence=influence / members.shape[1]
  )


MEASURE = measure.Measure(
  pactran_dirichlet,
  variant="authors' code, its sign turned",
  limits={'strength': (1e-6, None), 'num_iterations': (1, None)},
)
