"""The state of a training run, as one tree of arrays."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from vq_jax.utils.trees import Tree


@flax.struct.dataclass
class TrainState:
  """Everything that a training step reads and updates.

  The random numbers of a step are a function of the seed and of `step`, so the
  state holds no key.

  Attributes:
    step: int32 [], number of steps done.
    params: parameters of the trained network.
    codebook: its collection 'codebook', which no gradient trains; {} if it has
      none.
    opt_state: state of the optimizer.
    ema: moving averages of `params`, or None.
    frozen: network name -> variables of networks that are only applied. They
      are not part of a checkpoint.
    auxiliary: what the task updates beside the trained network, such as a
      discriminator with its own optimizer, or None.
    norm_mean: moving average of the gradient norm, or None; see `skipping`.
  """

  step: jax.Array
  params: Tree
  codebook: Tree
  opt_state: Tree
  ema: Tree | None
  frozen: Tree
  auxiliary: Tree | None = None
  norm_mean: Tree | None = None

  @classmethod
  def create(
    cls,
    variables: Tree,
    optimizer: optax.GradientTransformation,
    *,
    with_ema: bool,
    frozen: Tree,
    auxiliary: Tree | None = None,
    norm_mean: Tree | None = None,
  ) -> 'TrainState':
    """Returns the state before the first step.

    Args:
      variables: variables of the trained network.
      optimizer: updates its parameters.
      with_ema: whether moving averages of the parameters are kept.
      frozen: variables of networks that are only applied.
      auxiliary: see the attribute.
      norm_mean: see the attribute.
    """
    params = variables['params']
    return cls(
      step=jnp.zeros((), jnp.int32),
      params=params,
      codebook=variables.get('codebook', {}),
      opt_state=optimizer.init(params),
      ema=jax.tree.map(jnp.copy, params) if with_ema else None,
      frozen=frozen,
      auxiliary=auxiliary,
      norm_mean=norm_mean,
    )

  @property
  def variables(self) -> Tree:
    """Variables with which the trained network is applied in training."""
    return _make_variables(self.params, self.codebook)

  @property
  def eval_variables(self) -> Tree:
    """Variables for evaluation: with moving averages where they are kept."""
    params = self.params if self.ema is None else self.ema
    return _make_variables(params, self.codebook)

  def to_items(self) -> dict[str, Tree | None]:
    """Returns the items of a checkpoint; see `vq_jax.checkpoints.save`."""
    training = {'step': self.step, 'opt_state': self.opt_state}
    if self.auxiliary is not None:
      training['auxiliary'] = self.auxiliary
    if self.norm_mean is not None:
      training['norm_mean'] = self.norm_mean
    return {
      'variables': self.variables,
      'ema': self.ema,
      'training': training,
    }

  def from_items(self, items: dict[str, Tree | None]) -> 'TrainState':
    """Returns the state with the items of a checkpoint; `frozen` is kept."""
    return self.replace(
      step=items['training']['step'],
      params=items['variables']['params'],
      codebook=items['variables'].get('codebook', {}),
      opt_state=items['training']['opt_state'],
      ema=items['ema'],
      auxiliary=items['training'].get('auxiliary'),
      norm_mean=items['training'].get('norm_mean'),
    )


def _make_variables(params: Tree, codebook: Tree) -> Tree:
  return {'params': params, **({'codebook': codebook} if codebook else {})}
