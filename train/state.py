"""What changes from step to step, as one tree."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from vq_jax import losses

Tree = Any


@flax.struct.dataclass
class Adversary:
  """What changes of a discriminator.

  Attributes:
    params: its parameters.
    opt_state: of its own optimizer.
    means: of its logits, see `vq_jax.losses.LogitMeans`.
  """

  params: Tree
  opt_state: Tree
  means: losses.LogitMeans


@flax.struct.dataclass
class TrainState:
  """The state of training. Randomness is a function of the seed and `step`.

  Attributes:
    step: int32 [], steps done.
    params: what gradients train.
    codebook: the collection 'codebook', what they do not; {} if there is none.
    opt_state: of the optimizer.
    ema: averaged `params`, or None.
    frozen: variables of networks that are only applied; not checkpointed.
    adversary: the discriminator that learns beside, or None.
  """

  step: jax.Array
  params: Tree
  codebook: Tree
  opt_state: Tree
  ema: Tree | None
  frozen: Tree
  adversary: Adversary | None = None

  @classmethod
  def create(
    cls,
    variables: Tree,
    optimizer: optax.GradientTransformation,
    *,
    average: bool,
    frozen: Tree,
    adversary: Adversary | None = None,
  ) -> 'TrainState':
    """Starts from freshly initialised variables."""
    params = variables['params']
    return cls(
      step=jnp.zeros((), jnp.int32),
      params=params,
      codebook=variables.get('codebook', {}),
      opt_state=optimizer.init(params),
      ema=jax.tree.map(jnp.copy, params) if average else None,
      frozen=frozen,
      adversary=adversary,
    )

  @property
  def variables(self) -> Tree:
    """What the trained module applies with in training."""
    return _variables(self.params, self.codebook)

  @property
  def eval_variables(self) -> Tree:
    """What it applies with in evaluation: averages where they are kept."""
    params = self.params if self.ema is None else self.ema
    return _variables(params, self.codebook)

  def to_items(self) -> dict[str, Tree | None]:
    """Returns the items of a checkpoint; see `vq_jax.checkpoints.save`."""
    training = {'step': self.step, 'opt_state': self.opt_state}
    if self.adversary is not None:
      training['adversary'] = self.adversary
    return {
      'variables': self.variables,
      'ema': self.ema,
      'training': training,
    }

  def from_items(self, items: dict[str, Tree | None]) -> 'TrainState':
    """Undoes `to_items`; `frozen` stays."""
    return self.replace(
      step=items['training']['step'],
      params=items['variables']['params'],
      codebook=items['variables'].get('codebook', {}),
      opt_state=items['training']['opt_state'],
      ema=items['ema'],
      adversary=items['training'].get('adversary'),
    )


def _variables(params: Tree, codebook: Tree) -> Tree:
  return {'params': params, **({'codebook': codebook} if codebook else {})}
