"""One step of guided optimisation, as a pure function."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from vq_jax.features import inputs
from vq_jax.guidance import augmentations as augmentations_lib
from vq_jax.guidance import guides as guides_lib
from vq_jax.guidance import latents as latents_lib
from vq_jax.guidance import losses
from vq_jax.guidance import options as options_lib


@flax.struct.dataclass
class GuidanceState:
  """The state of the optimisation of a batch of images.

  Attributes:
    step: int32 [], the number of steps that were taken.
    latents: the latents [B, ...]; see `vq_jax.guidance.latents`.
    optimizer: the state of the optimizer, for each image.
    average: the moving average of the latents; None without `ema_decay`.
    keys: uint32 [B, ...], the data of the random key of each image.
    first_image: float32 [B, H, W, C], to which the distances are measured.
  """

  step: jax.Array
  latents: latents_lib.Latents
  optimizer: optax.OptState
  average: latents_lib.Latents | None
  keys: jax.Array
  first_image: jax.Array

  @property
  def result(self) -> latents_lib.Latents:
    """The latents that are decoded to the result."""
    return self.latents if self.average is None else self.average


@flax.struct.dataclass
class Networks:
  """The variables of all networks of a step, which it does not change.

  Attributes:
    autoencoder: those of the autoencoder.
    guides: those of each guide.
    lpips: those of LPIPS; None if it is not used.
    code_range: the range of the latents; see `latents.code_range`.
  """

  autoencoder: Mapping[str, Any]
  guides: tuple[Mapping[str, Any], ...]
  lpips: Mapping[str, Any] | None = None
  code_range: tuple[latents_lib.Latents, latents_lib.Latents] | None = None


StepFn = Callable[
  [GuidanceState, Networks, tuple[guides_lib.Targets, ...]],
  tuple[GuidanceState, dict[str, jax.Array]],
]


def init_state(
  latents: latents_lib.Latents,
  keys: jax.Array,
  first_image: jax.Array,
  options: options_lib.GuidanceOptions,
) -> GuidanceState:
  """Returns the state before the first step.

  Args:
    latents: the first latents [B, ...].
    keys: JAX keys [B].
    first_image: float32 [B, H, W, C].
    options: the options.
  """
  return GuidanceState(
    step=jnp.zeros((), jnp.int32),
    latents=latents,
    optimizer=jax.vmap(options.make_optimizer().init)(latents),
    average=latents if options.ema_decay else None,
    keys=jax.random.key_data(keys),
    first_image=first_image,
  )


def make_step(
  autoencoder: nn.Module,
  guides: Sequence[guides_lib.Guide],
  options: options_lib.GuidanceOptions,
  lpips: nn.Module | None = None,
) -> StepFn:
  """Returns the function that takes one step.

  The images of a batch are independent of each other. The gradient with respect
  to the image is summed over parts of the cutouts, of which each is forgotten
  before the next; it then passes through the decoder once. Memory therefore
  does not grow with the number of cutouts.

  Args:
    autoencoder: any autoencoder.
    guides: the guides; their variables are passed to the step.
    options: the options.
    lpips: the module of LPIPS, if `init_lpips_weight` is not 0.

  Returns:
    (state, networks, targets of each guide) -> (state, losses). The losses are
    float32 [B], by the names `loss`, `tv`, `init` and `init_lpips`; and
    `prompts`, [B, guides, P].
  """

  def decode(variables, latents):
    return latents_lib.decode(autoencoder, variables, latents, options.form)

  def step(state, networks, targets):
    decoder = jax.checkpoint(decode) if options.remat else decode
    image, pull_back = jax.vjp(
      lambda latents: decoder(networks.autoencoder, latents), state.latents
    )
    gradient, values = _image_losses(image, state, networks, options, lpips)
    keys = jax.vmap(
      lambda data: jax.random.fold_in(
        jax.random.wrap_key_data(data), state.step
      )
    )(state.keys)
    per_guide = []
    for i, guide in enumerate(guides):
      part, found = _guide_losses(
        guide, networks.guides[i], targets[i], options, keys, image, i
      )
      gradient += part
      per_guide.append(found)
    values['prompts'] = jnp.stack(per_guide, axis=1)
    values['loss'] += values['prompts'].sum(axis=(1, 2))
    (gradients,) = pull_back(gradient)
    return _update(state, gradients, networks, options), values

  return step


def _update(
  state: GuidanceState,
  gradients: latents_lib.Latents,
  networks: Networks,
  options: options_lib.GuidanceOptions,
) -> GuidanceState:
  """Applies gradients to the latents, with an optimizer for each image."""
  updates, moments = jax.vmap(options.make_optimizer().update)(
    gradients, state.optimizer, state.latents
  )
  latents = optax.apply_updates(state.latents, updates)
  if options.clamp and networks.code_range is not None:
    latents = jax.tree.map(jnp.clip, latents, *networks.code_range)
  average = state.average
  if average is not None:
    average = optax.incremental_update(latents, average, 1 - options.ema_decay)
  return dataclasses.replace(
    state,
    step=state.step + 1,
    latents=latents,
    optimizer=moments,
    average=average,
  )


def _image_losses(
  image: jax.Array,
  state: GuidanceState,
  networks: Networks,
  options: options_lib.GuidanceOptions,
  lpips: nn.Module | None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Returns the gradient of the losses of the image itself, and the losses."""

  def loss(image):
    values = {}
    if options.tv_weight:
      tv = losses.total_variation(image)
      values['tv'] = options.tv_weight * tv
    if options.init_weight:
      error = jnp.square(image - state.first_image).mean(axis=(1, 2, 3))
      values['init'] = options.init_weight * error
    if options.init_lpips_weight:
      distance = lpips.apply(networks.lpips, state.first_image, image)
      values['init_lpips'] = options.init_lpips_weight * distance
    total = sum(values.values(), jnp.zeros(len(image), jnp.float32))
    return total.sum(), {**values, 'loss': total}

  gradient, values = jax.grad(loss, has_aux=True)(image)
  return gradient, values


def _guide_losses(
  guide: guides_lib.Guide,
  variables: Mapping[str, Any],
  targets: guides_lib.Targets,
  options: options_lib.GuidanceOptions,
  keys: jax.Array,
  image: jax.Array,
  number: int,
) -> tuple[jax.Array, jax.Array]:
  """Returns the gradient [B, H, W, C] of a guide's losses, and them [B, P]."""
  cutouts, augment = options.make_cutouts(), options.make_augmentations()
  num, at_once = options.num_cutouts, options.cutouts_at_once
  at_once = min(at_once, num)

  def views(key, image, index):
    positions, changes = jax.random.split(jax.random.fold_in(key, number))
    cut = cutouts(positions, inputs.rgb(image[None])[0], index, num, guide.size)
    own = jax.vmap(lambda i: jax.random.fold_in(changes, i))(index)
    return jax.vmap(lambda k, x: augmentations_lib.augment(augment, k, x))(
      own, cut
    )

  def loss(image, index):
    cut = jax.vmap(views, in_axes=(0, 0, None))(keys, image, index)
    embedding = guide.module.apply(
      variables, cut.reshape(-1, *cut.shape[2:]), method='encode_image'
    )
    found = losses.prompt_losses(
      embedding.astype(jnp.float32),
      targets.embedding,
      targets.weight,
      targets.stop,
    ).reshape(*cut.shape[:2], -1)
    # The last part may have cutouts beyond the number.
    share = (index < num).astype(jnp.float32) / num
    found = jnp.einsum('bnp,n->bp', found, share)
    return found.sum(), found

  def add(total, index):
    part = jax.grad(loss, has_aux=True)(image, index)
    return jax.tree.map(jnp.add, total, part), None

  parts = -(-num // at_once)
  index = jnp.arange(parts * at_once).reshape(parts, at_once)
  zero = (
    jnp.zeros_like(image),
    jnp.zeros((len(image), len(targets.weight)), jnp.float32),
  )
  if parts == 1:
    return add(zero, index[0])[0]
  return jax.lax.scan(add, zero, index)[0]
