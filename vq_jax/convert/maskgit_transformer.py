"""The transformer of google-research/maskgit: names and shapes."""

from vq_jax import model
from vq_jax.convert import maskgit
from vq_jax.convert import priors
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import rules as rules_lib
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion.rules import Rule

LANDMARK, USUAL = 'Embed_0/word_embeddings/embedding', ('params',)
IGNORED = ''

reading = maskgit.reading
state = maskgit.state

_SAME = {
  name: ((name, rules_lib.same),)
  for name in ('kernel', 'bias', 'scale', 'embedding')
}
RULES = (
  Rule('Embed_0/word_embeddings', 'embedding', _SAME),
  Rule(
    'Embed_0/position_embeddings',
    'position_embedding',
    {'embedding': (('table', rules_lib.same),)},
  ),
  Rule('Embed_0/embeddings_ln', 'norm_in', _SAME),
  Rule(
    r'TransformerLayer_(\d+)/Attention_0/self_attention/(query|key|value|out)',
    r'stack/blocks[\1]/attention/\2',
    _SAME,
  ),
  Rule(
    r'TransformerLayer_(\d+)/Attention_0/attention_output_ln',
    r'stack/blocks[\1]/attention_norm',
    _SAME,
  ),
  Rule(
    r'TransformerLayer_(\d+)/Mlp_0/intermediate_output',
    r'stack/blocks[\1]/mlp_in',
    _SAME,
  ),
  Rule(
    r'TransformerLayer_(\d+)/Mlp_0/layer_output',
    r'stack/blocks[\1]/mlp_out',
    _SAME,
  ),
  Rule(
    r'TransformerLayer_(\d+)/Mlp_0/layer_output_ln',
    r'stack/blocks[\1]/mlp_norm',
    _SAME,
  ),
  Rule('MlmLayer_0/mlm_dense', 'dense_out', _SAME),
  Rule('MlmLayer_0/mlm_ln', 'norm_out/norm', _SAME),
  Rule('MlmLayer_0/mlm_bias', '', {'bias': (('bias_out', rules_lib.same),)}),
)


def prior(
  found: states.State,
  tokenizer: model.Model,
  *,
  yaml: None = None,
  heads: None = None,
) -> priors.Prior:
  """Infers the architecture from the shapes.

  The vocabulary has no null class.

  Args:
    found: name -> object with a shape.
    tokenizer: the tokenizer of its tokens.
    yaml: None.
    heads: not needed, since the shapes tell them.

  Raises:
    ConvertError: if the names are not those of the transformer, or its codebook
      size is not that of the tokenizer.
  """
  del yaml, heads
  (tokens,) = tokenizer.autoencoder.token_grids
  rows, width = states.shape(found, 'Embed_0/word_embeddings/embedding', 2)
  length, _ = states.shape(found, 'Embed_0/position_embeddings/embedding', 2)
  layer = 'TransformerLayer_0'
  query = f'{layer}/Attention_0/self_attention/query/kernel'
  _, num_heads, _ = states.shape(found, query, 3)
  mlp = f'{layer}/Mlp_0/intermediate_output/kernel'
  classes = rows - tokens.codebook_size - 1
  if classes < 0:
    raise errors.ConvertError(
      f'it embeds {rows} ids, too few for a mask and the '
      f'{tokens.codebook_size} codes of the tokenizer; they do not belong '
      'together'
    )
  return priors.Prior(
    spec={
      'type': 'maskgit',
      'transformer': {
        'layers': states.count(found, r'TransformerLayer_(\d+)/'),
        'width': width,
        'heads': num_heads,
        'mlp_width': states.shape(found, mlp, 2)[-1],
      },
    },
    num_classes=classes,
    grid=priors.square(length - bool(classes)),
    sampler={
      'steps': 8,
      'schedule': 'cosine',
      'rounding': 'float32',
      'choice_temperature': 4.5,
    },
    rules=RULES,
  )
