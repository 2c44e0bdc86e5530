# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import jax
import numpy as np
import pytest
import scipy.signal

from neucrab_jax.models import slim, winograd

_OPTIONS = {
  'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'),
  'precision': slim.PRECISION,
}
# Of two images of a ResNet.
_SHAPE, _KERNEL = (2, 56, 56, 64), (3, 3, 64, 64)


def _random(*shapes):
  rng = np.random.default_rng(0)
  return [rng.normal(size=shape).astype('f4') for shape in shapes]


def _in_f64(x, kernel, padding):
  """[B, H, W, C] with [3, 3, C, D], one pair of channels after the other."""
  padded = np.pad(x.astype('f8'), [(0, 0), *padding, (0, 0)])
  return np.stack(
    [
      sum(
        scipy.signal.correlate(padded[..., c], kernel[None, ..., c, d], 'valid')
        for c in range(x.shape[-1])
      )
      for d in range(kernel.shape[-1])
    ],
    axis=-1,
  )


@pytest.mark.parametrize('padding', [((1, 1), (1, 1)), ((0, 2), (3, 0))])
@pytest.mark.parametrize('sides', [(12, 10), (11, 14), (3, 5)])
def test_is_a_convolution(sides, padding):
  x, kernel = _random((2, *sides, 3), (3, 3, 3, 4))
  expected = _in_f64(x, kernel, padding)
  found = winograd.convolve(x, kernel, padding, precision=slim.PRECISION)
  assert found.shape == expected.shape
  np.testing.assert_allclose(found, expected, atol=2e-6 * np.ptp(expected))


def test_convolve_and_its_gradients_are_those_of_lax(monkeypatch):
  monkeypatch.setattr(winograd, '_LEAST_WORK', 0)
  monkeypatch.setattr(
    winograd, 'convolve', mock.Mock(side_effect=winograd.convolve)
  )
  x, kernel = _random((2, 10, 11, 64), _KERNEL)

  def pulled(convolve):
    y, pull = jax.vjp(
      lambda x, kernel: convolve(x, kernel, (1, 1), 'SAME', **_OPTIONS),
      x,
      kernel,
    )
    return y, *pull(y)

  for ours, theirs in zip(
    jax.jit(pulled, static_argnums=0)(slim.convolve),
    jax.jit(pulled, static_argnums=0)(jax.lax.conv_general_dilated),
    strict=True,
  ):
    np.testing.assert_allclose(ours, theirs, atol=2e-6 * np.ptp(theirs))
  winograd.convolve.assert_called()  # pyright: ignore


def test_pays():
  assert winograd.pays(_SHAPE, _KERNEL)


@pytest.mark.parametrize(
  ('shape', 'kernel'),
  [
    ((2, 56, 56, 64), (5, 5, 64, 64)),
    # One image alone, whose arithmetic is counted.
    ((1, 56, 56, 64), _KERNEL),
    # Few places, few channels, little work, more than a cache holds.
    ((16, 7, 7, 512), (3, 3, 512, 512)),
    ((4, 56, 56, 128), (3, 3, 128, 32)),
    ((4, 14, 14, 64), _KERNEL),
    ((4, 224, 224, 64), _KERNEL),
  ],
)
def test_does_not_pay(shape, kernel):
  assert not winograd.pays(shape, kernel)
