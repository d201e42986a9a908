import { describe, expect, it } from 'vitest';
import { LOST_AFTER_MS } from '../../../../common/model/cluster.ts';
import { liveness } from '../../../../manager/nodes/liveness.ts';
import { at, type ClusterBuilder, cluster, render } from '../../../support/cluster-builder.ts';

const decide = (world: ClusterBuilder, now: number, reign = 1): string =>
  render(world.view, liveness({ incarnation: 1, reign }).decide(world.view, 'n1', at(now)));

const ledSince = (world: ClusterBuilder, since: number): ClusterBuilder =>
  world.put('leader', 'default', { managerId: 'm' as never, address: '', since });

describe('a node', () => {
  it('that has a session in this reign is left alone', () => {
    expect(decide(cluster(), 999_000)).toBe('');
  });

  it('becomes unreachable when it has been silent for longer than the cluster waits', () => {
    const world = cluster().silent('n1', 1_000);
    expect(decide(world, 15_999)).toBe('wake at 16000');
    expect(decide(world, 16_000)).toBe('node n1: unreachable (silent for more than 15 s)');
  });

  it('is lost after a day of silence, and stays so', () => {
    const world = cluster().silent('n1', 1_000, 'unreachable');
    expect(decide(world, 20_000)).toBe(`wake at ${1_000 + LOST_AFTER_MS}`);
    expect(decide(world, 1_000 + LOST_AFTER_MS)).toBe('node n1: lost (silent for more than 24 h)');
    expect(decide(cluster().silent('n1', 0, 'lost'), 2 * LOST_AFTER_MS)).toBe('');
  });

  it('keeps the time since when it has been silent through all states', () => {
    const plan = liveness({ incarnation: 1, reign: 1 }).decide(cluster().silent('n1', 1_000).view, 'n1', at(20_000));
    expect(plan.units[0]?.[0]).toMatchObject({ value: { state: 'unreachable', since: 20_000, silentSince: 1_000 } });
  });

  it('has its status deleted when it was removed', () => {
    expect(decide(cluster().delete('node', 'n1'), 0)).toBe('- node-status n1');
  });
});

describe('a new leader', () => {
  it('gives a ready node one silence window to come back', () => {
    const world = ledSince(cluster(), 50_000);
    expect(decide(world, 59_999, 2)).toBe('wake at 60000');
    expect(decide(world, 60_000, 2)).toBe('node n1: suspect (no session since the leader changed)');
  });

  it('counts the silence of such a node from its own take-over', () => {
    const plan = liveness({ incarnation: 1, reign: 2 }).decide(ledSince(cluster(), 50_000).view, 'n1', at(60_000));
    expect(plan.units[0]?.[0]).toMatchObject({ value: { silentSince: 50_000 } });
  });

  it('keeps what was suspect, but moves nothing before its silence window has passed', () => {
    const world = ledSince(cluster().silent('n1', 1_000), 50_000);
    expect(decide(world, 50_000, 2)).toBe('wake at 60000');
    expect(decide(world, 60_000, 2)).toBe('node n1: unreachable (silent for more than 15 s)');
  });

  it('after a recovery gives the window to nodes of the earlier incarnation', () => {
    const world = ledSince(cluster(), 50_000).edit('node-status', 'n1', { epoch: { incarnation: 0, reign: 99 } });
    expect(decide(world, 50_000, 2)).toBe('wake at 60000');
  });

  it('leaves nodes alone that have a session with a newer leader than itself', () => {
    expect(
      decide(ledSince(cluster(), 0).edit('node-status', 'n1', { epoch: { incarnation: 1, reign: 7 } }), 99_000),
    ).toBe('');
  });
});
