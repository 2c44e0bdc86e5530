# SPDX-License-Identifier: Apache-2.0
"""PACTran-Dirichlet: a PAC-Bayesian bound on the source head's output.

Axes: N examples, C classes, Z source classes, R weightings.
"""

import jax
import jax.numpy as jnp
from jax.scipy import special
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Of the authors' code, which adds it to probabilities and counts.
_EPSILON = 1e-10


@jax.jit
def _bounds(source_probs, one_hot, example_weights, strength, num_iterations):
  log_s = jnp.log(source_probs + _EPSILON)

  def bound(weights):
    weighted = one_hot * weights[:, None]
    shares = weighted.sum(axis=0) / weights.sum()
    prior = (strength * shares + _EPSILON)[:, None]  # [C, 1]

    def step(_, state):
      _, q = state
      counts = prior + weighted.T @ q  # [C, Z]
      logits = log_s + one_hot @ special.digamma(counts)
      logits -= special.digamma(counts.sum(axis=0))
      return counts, jax.nn.softmax(logits, axis=1)

    counts, q = jax.lax.fori_loop(
      0,
      num_iterations,
      step,
      (jnp.zeros((one_hot.shape[1], log_s.shape[1])), source_probs),
    )
    prior_constant = special.gammaln(prior.sum()) - special.gammaln(prior).sum()
    constants = special.gammaln(counts.sum(axis=0)) - special.gammaln(
      counts
    ).sum(axis=0)
    # 0 log 0 is 0.
    log_q = jnp.where(q > 0, jnp.log(jnp.where(q > 0, q, 1)), 0)
    divergence = weights @ jnp.sum(q * (log_q - log_s), axis=1)
    evidence = jnp.sum(prior_constant - constants) - divergence
    return evidence / one_hot.size

  return jax.lax.map(bound, example_weights)


def pactran_dirichlet(
  *,
  source_probs: Float[Array, 'N Z'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
  strength: float = 1.0,
  num_iterations: int = 10,
) -> Float[Array, 'R']:
  """Evidence lower bound of labels whose class depends on the source class.

      P(y | z) ~ Dirichlet(strength · P(y)),  y_i ~ P(· | z_i),  z_i ~ θ(x_i)
      q_i(z)   ∝ θ(x_i)_z exp(ψ(a_{y_i z}) − ψ(Σ_y a_yz))
      a_yz     = strength · P(y) + Σ_{i: y_i = y} q_i(z)

  and the bound after `num_iterations` of the last two, divided by N C.

  Args:
    source_probs: [N, Z], θ; rows sum to one.
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].
    strength: of the prior, in examples.
    num_iterations: of the variational updates.

  Returns:
    [R], in nats.

  Reference:
    Ding et al., "PACTran: PAC-Bayesian Metrics for Estimating the
    Transferability of Pretrained Models to Classification Tasks", ECCV 2022,
    section 4.1.
  """
  with float64.precision():
    return _bounds(
      jnp.asarray(source_probs, float),
      float64.one_hot(labels),
      example_weights,
      strength,
      num_iterations,
    )


MEASURE = measure.Measure(
  pactran_dirichlet,
  variant="authors' code, its sign turned",
  limits={'strength': (1e-6, None), 'num_iterations': (1, None)},
)
