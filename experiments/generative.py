# SPDX-License-Identifier: Apache-2.0
"""What the bundled checkpoints are pre-trained for: making images.

Objectives as in `objectives`; they have no accuracy, which is −1. Two that play
against each other are one loss: each sees the other's parameters as constants.

Axes: B batch, H, W space, L latents.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments import objectives

_LATENTS = 32
# Standard deviation of a pixel given the latents, in [-1, 1].
_PIXEL_STD = 0.2
# Of a distance between the latents' distribution and the prior, in nats: large,
# as these are smaller than a divergence of single examples.
_PENALTY = 1_000.0
_HIDDEN = 128

_NO_ACCURACY = -jnp.ones(())


class _Decoder(nn.Module):
  """Latents [B, L] to images [B, 32, 32, 3]."""

  @nn.compact
  def __call__(self, latents: jax.Array) -> jax.Array:
    x = nn.relu(nn.Dense(8 * 8 * 32)(latents)).reshape(-1, 8, 8, 32)
    # Doubled and convolved: a transposed convolution is slow on a CPU.
    x = nn.relu(nn.Conv(16, (3, 3))(x.repeat(2, axis=1).repeat(2, axis=2)))
    x = nn.Conv(2 * 2 * 3, (3, 3))(x)
    # Four pixels from the channels of one.
    x = x.reshape(-1, 16, 16, 2, 2, 3).swapaxes(2, 3)
    return x.reshape(-1, 32, 32, 3)


class _Critic(nn.Module):
  """Whether latents [B, L] are of the prior: a logit."""

  @nn.compact
  def __call__(self, latents: jax.Array) -> jax.Array:
    x = nn.relu(nn.Dense(_HIDDEN)(latents))
    return nn.Dense(1)(nn.relu(nn.Dense(_HIDDEN)(x)))[:, 0]


class _Judge(nn.Module):
  """Whether features [B, D] are of a real image, perhaps of a class: [B]."""

  num_classes: int

  @nn.compact
  def __call__(self, features, labels):
    verdict = nn.Dense(1)(features)[:, 0]
    if self.num_classes:
      of_class = nn.Embed(self.num_classes, features.shape[1])(labels)
      verdict += (of_class * features).sum(1)
    return verdict


def _frozen(module: nn.Module, *args, **kwargs):
  """Calls a module that was called before, its parameters constants."""
  constants = jax.lax.stop_gradient(module.variables)
  return module.clone(parent=None, name=None).apply(constants, *args, **kwargs)


def _normal(values, mean, log_std):
  """Log density, summed over the last axis, without its constant."""
  z = (values - mean) * jnp.exp(-log_std)
  return -(z**2 / 2 + log_std).sum(-1)


def _divergence(mean, log_std, latents, key, train):
  """Kullback–Leibler, of each example's posterior from the prior."""
  del latents, key, train
  return ((mean**2 + jnp.exp(2 * log_std) - 1 - 2 * log_std).sum(1) / 2).mean()


def _upper_divergence(mean, log_std, latents, key, train):
  """Of the batch's mixture of posteriors: at least that of all examples.

  Reference: Rubenstein et al., Practical and Consistent Estimation of
  f-Divergences, NeurIPS 2019, theorem 1.
  """
  del key, train
  each = _normal(latents[:, None], mean[None], log_std[None])
  mixture = jax.scipy.special.logsumexp(each, axis=1) - jnp.log(len(mean))
  return (mixture - _normal(latents, 0.0, jnp.zeros_like(latents))).mean()


def _discrepancy(mean, log_std, latents, key, train):
  """Maximum mean discrepancy, with the inverse multiquadratic kernel.

  Reference: Tolstikhin et al., Wasserstein Auto-Encoders, ICLR 2018.
  """
  del mean, log_std, train
  prior = jax.random.normal(key, latents.shape)
  scale = 2.0 * latents.shape[1]

  def kernel(one, other):
    squared = ((one[:, None] - other[None]) ** 2).sum(-1)
    return scale / (scale + squared)

  b = len(latents)
  others = (1 - jnp.eye(b)) / (b * (b - 1))
  within = (others * (kernel(latents, latents) + kernel(prior, prior))).sum()
  return _PENALTY * (within - 2 * kernel(latents, prior).mean())


class _Adversary(nn.Module):
  """A critic that the encoder deceives: WAE-GAN of the same paper."""

  @nn.compact
  def __call__(self, mean, log_std, latents, key, train):
    del mean, log_std, train
    critic = _Critic()
    prior = critic(jax.random.normal(key, latents.shape))
    coded = critic(jax.lax.stop_gradient(latents))
    tell_apart = jax.nn.softplus(-prior).mean() + jax.nn.softplus(coded).mean()
    deceive = jax.nn.softplus(-_frozen(critic, latents)).mean()
    return tell_apart + _PENALTY * deceive


# Whether latents are drawn, and what keeps their distribution near the prior.
_REGULARISERS = {
  'vae': (True, lambda: _divergence),
  'wae_ukl': (True, lambda: _upper_divergence),
  'wae_mmd': (False, lambda: _discrepancy),
  'wae_gan': (False, _Adversary),
}
AUTOENCODERS = tuple(_REGULARISERS)


class Reconstruct(nn.Module):
  """An autoencoder whose encoder is the backbone; nats per pixel and channel.

  Attributes:
    kind: one of `AUTOENCODERS`.
  """

  kind: str

  @nn.compact
  def __call__(self, backbone, batch, key, train: bool):
    draws, make_regulariser = _REGULARISERS[self.kind]
    key_latents, key_prior = jax.random.split(key)
    x = objectives.scale(batch.images)
    features = backbone(x, train=train).features
    mean, log_std = jnp.split(nn.Dense(2 * _LATENTS)(features), 2, axis=1)
    latents = mean
    if draws:
      noise = jax.random.normal(key_latents, mean.shape)
      latents = mean + jnp.exp(log_std) * noise
    rebuilt = _Decoder()(latents)
    error = ((x - rebuilt) ** 2).sum((1, 2, 3)).mean() / (2 * _PIXEL_STD**2)
    apart = make_regulariser()(mean, log_std, latents, key_prior, train)
    return (error + apart) / x[0].size, _NO_ACCURACY


class Generate(nn.Module):
  """A generative adversarial network whose discriminator is the backbone.

  Attributes:
    num_classes: of the conditional one, which is told the classes; 0 for none.

  Reference: Goodfellow et al., NeurIPS 2014, with the hinge loss; classes by
  projection, Miyato and Koyama, ICLR 2018.
  """

  num_classes: int = 0

  @nn.compact
  def __call__(self, backbone, batch, key, train: bool):
    latents = jax.random.normal(key, (len(batch.labels), _LATENTS))
    if self.num_classes:
      told = jax.nn.one_hot(batch.labels, self.num_classes)
      latents = jnp.concatenate([latents, told], axis=1)
    low, high = objectives.VALUE_RANGE
    fake = low + (high - low) * nn.sigmoid(_Decoder()(latents))
    real = objectives.scale(
      batch.labelled if self.num_classes else batch.images
    )
    judge = _Judge(self.num_classes)
    both = jnp.concatenate([real, jax.lax.stop_gradient(fake)])
    features = backbone(both, train=train).features
    on_real, on_fake = jnp.split(judge(features, jnp.tile(batch.labels, 2)), 2)
    tell_apart = nn.relu(1 - on_real).mean() + nn.relu(1 + on_fake).mean()
    seen = _frozen(backbone, fake).features
    return tell_apart - _frozen(judge, seen, batch.labels).mean(), _NO_ACCURACY
