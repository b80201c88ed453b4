"""Laws of the figures that are read from compiled programs."""

import jax
import jax.numpy as jnp
import pytest

from train.planning import flops
from train.planning import hlo

# A program of a TPU in brief: a loop of 3 trips holds one of 5 trips, and a
# fusion that scatters what it has summed. One number of trips stands beside its
# loop; the other one follows from the condition.
TEXT = """\
HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%inner_body (p.1: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %p.1 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %x.1 = f32[8,128]{1,0:T(8,128)} get-tuple-element(%p.1), index=1
  %dot.1 = f32[8,128]{1,0:T(8,128)} fusion(%x.1), kind=kOutput, calls=%fused, \
metadata={op_name="jit(step)/while/body/dot"}, \
backend_config={"window_config":{"estimated_cycles":"100"}}
  ROOT %t.1 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%i, %dot.1)
}

%inner_condition (p.2: (s32[], f32[8,128])) -> pred[] {
  %p.2 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  ROOT %lt.2 = pred[]{:T(512)} compare(%a.2, %b.2), direction=LT
}

%outer_body (p.3: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %p.3 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %x.3 = f32[8,128]{1,0:T(8,128)} get-tuple-element(%p.3), index=1
  %w.3 = (s32[], f32[8,128]) while(%p.3), condition=%inner_condition, \
body=%inner_body, backend_config={"known_trip_count":{"n":"5"}}
  %r.3 = f32[8,128]{1,0:T(8,128)} all-reduce(%x.3), channel_id=1, \
replica_groups=[1,4]<=[4], use_global_device_ids=true, to_apply=%add
  ROOT %t.3 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%i, %r.3)
}

%outer_condition (p.4: (s32[], f32[8,128])) -> pred[] {
  %p.4 = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %c.4 = s32[]{:T(128)} constant(4)
  %i.4 = s32[]{:T(128)} get-tuple-element(%p.4), index=0
  ROOT %lt.4 = pred[]{:T(512)} compare(%i.4, %c.4), direction=LT
}

%cheap (p.5: f32[8,128]) -> f32[8,128] {
  ROOT %p.5 = f32[8,128]{1,0:T(8,128)} parameter(0)
}

%dear (p.6: f32[8,128]) -> f32[8,128] {
  %p.6 = f32[8,128]{1,0:T(8,128)} parameter(0)
  ROOT %s.6 = f32[8,128]{1,0:T(8,128)} sort(%p.6), dimensions={1}, \
to_apply=%add, backend_config={"estimated_cycles":"7000"}
}

ENTRY %main (x: f32[8,128]) -> f32[8,128] {
  %x = f32[8,128]{1,0:T(8,128)} parameter(0)
  %one = s32[]{:T(128)} constant(1)
  %start = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%one, %x)
  %gather = (f32[2,128]{1,0}, f32[8,128]{1,0}) all-gather-start(%part), \
replica_groups={{0,1,2,3}}, dimensions={0}
  %done = f32[8,128]{1,0} all-gather-done(%gather)
  %part = f32[2,128]{1,0} slice(%x), slice={[0:2]}
  %scatter = bf16[2,128]{1,0} reduce-scatter(%whole), \
replica_groups=mesh['data'=2,'fsdp'=4] {'fsdp'}, to_apply=%add
  %whole = bf16[8,128]{1,0} convert(%x), \
backend_config={"estimated_cycles":"30"}
  %w = (s32[], f32[8,128]) while(%start), condition=%outer_condition, \
body=%outer_body
  ROOT %c = f32[8,128]{1,0:T(8,128)} conditional(%p, %x, %x), \
branch_computations={%cheap, %dear}
}
"""


def test_a_loop_counts_once_for_each_trip_also_within_another_loop():
  program = hlo.Program(TEXT)
  # The outer loop counts from 1 to 4, in 3 trips; the inner one has 5.
  assert program.times['outer_body'] == 3
  assert program.times['inner_body'] == 15
  assert program.cycles == 15 * 100 + 30 + 7000
  assert program.least_cycles == 15 * 100 + 30


def test_operations_have_all_cycles_and_the_dearest_comes_first():
  program = hlo.Program(TEXT)
  operations = program.get_operations()
  assert [(o.name, o.cycles, o.times) for o in operations] == [
    ('s.6', 7000, 1),
    ('jit(step)/while/body/dot', 1500, 15),
    ('whole', 30, 1),
  ]
  assert sum(o.cycles for o in operations) == program.cycles


def test_collectives_have_the_bytes_of_the_whole_array_and_their_groups():
  found = {c.kind: c for c in hlo.Program(TEXT).get_collectives()}
  size = 8 * 128 * 4
  assert found == {
    'all-reduce': hlo.Collective(
      kind='all-reduce', bytes=size, times=3, group_size=4
    ),
    'all-gather': hlo.Collective(
      kind='all-gather', bytes=size, times=1, group_size=4
    ),
    'reduce-scatter': hlo.Collective(
      kind='reduce-scatter', bytes=size // 2, times=1, group_size=4
    ),
  }
  # A ring passes each part on to all others, for a sum twice.
  assert found['all-gather'].sent == size * 3 / 4
  assert found['all-reduce'].sent == 3 * 2 * size * 3 / 4


def test_loops_of_the_compiler_of_this_machine_are_read():
  def f(x):
    def inner(x, _):
      return jnp.tanh(x @ x), None

    def outer(x, _):
      return jax.lax.scan(inner, x, length=5)[0], None

    return jax.lax.scan(outer, x, length=3)[0]

  x = jax.ShapeDtypeStruct((4, 4), jnp.float32)
  traced = jax.jit(f).trace(x)
  program = hlo.Program(traced.lower().compile().as_text())
  assert max(program.times.values()) == 15
  assert flops.count(traced.jaxpr.jaxpr) == 15 * 2 * 4**3


@pytest.mark.parametrize('stride', [1, 2])
def test_the_operations_of_a_convolution_and_of_its_gradients(stride):
  """Each gradient takes as many as the convolution itself."""
  x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((4, 4, 3, 5))

  def f(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    ).sum()

  forward = 2 * (2 * (8 // stride) ** 2 * 5) * (4 * 4 * 3)
  assert flops.count(jax.make_jaxpr(f)(x, kernel).jaxpr) == forward
  gradients = jax.make_jaxpr(jax.grad(f, argnums=(0, 1)))(x, kernel)
  assert flops.count(gradients.jaxpr) == 3 * forward


def test_what_is_computed_again_counts_again_and_a_condition_once():
  x = jnp.ones((4, 4))
  f = jax.checkpoint(lambda x: jnp.tanh(x @ x).sum())
  # forward, the same again, and two products of the backward pass
  assert flops.count(jax.make_jaxpr(jax.grad(f))(x).jaxpr) == 4 * 2 * 4**3

  def choose(x):
    return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

  assert flops.count(jax.make_jaxpr(choose)(x).jaxpr) == 2 * 2 * 4**3


OVERLAPPED = """\
HloModule jit_step, is_scheduled=true

%begin (a: f32[2,128]) -> f32[8,128] {
  %a = f32[2,128]{1,0} parameter(0)
  ROOT %g.1 = f32[8,128]{1,0} all-gather(%a), channel_id=7, \
replica_groups={{0,1,2,3}}, dimensions={0}
}

%end (b: f32[2,128]) -> f32[8,128] {
  %b = f32[2,128]{1,0} parameter(0)
  ROOT %g.2 = f32[8,128]{1,0} all-gather(%b), channel_id=7, \
replica_groups={{0,1,2,3}}, dimensions={0}
}

ENTRY %main (x: f32[2,128]) -> f32[8,128] {
  %x = f32[2,128]{1,0} parameter(0)
  %one = f32[8,128]{1,0} fusion(%x), kind=kCustom, calls=%begin
  %two = f32[8,128]{1,0} fusion(%x), kind=kCustom, calls=%end
  ROOT %three = f32[8,128]{1,0} all-gather(%x), channel_id=8, \
replica_groups={{0,1,2,3}}, dimensions={0}
}
"""


def test_a_collective_during_several_fusions_counts_once():
  found = hlo.Program(OVERLAPPED).get_collectives()
  assert [c.bytes for c in found] == [8 * 128 * 4] * 2


def test_a_kernel_tells_its_cycles_itself():
  program = hlo.Program(
    'ENTRY %main (p: f32[8]) -> f32[8] {\n'
    '  %p = f32[8]{0} parameter(0)\n'
    '  ROOT %k = f32[8]{0} custom-call(%p), custom_call_target='
    '"tpu_custom_call", frontend_attributes={kernel_metadata={\n'
    '"estimated_cycles":"900"\n'
    '}}, metadata={op_name="jit(step)/kernel"}\n'
    '}\n'
  )
  assert program.cycles == 900
