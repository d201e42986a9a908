import { describe, expect, it } from 'vitest';
import { EventFeed, KEPT_MAX } from '../../../../manager/control/event-feed.ts';
import { eventsOf } from '../../../../manager/control/events.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

/** What a change of this cluster is told as: `type action name {attributes}`. */
function told(world: ClusterBuilder, change: (builder: ClusterBuilder) => unknown): readonly string[] {
  const seen: string[] = [];
  const end = world.store.onBatch(({ changes }) => {
    for (const each of changes) {
      for (const { type, action, name, attributes } of eventsOf(each, world.view, 0)) {
        seen.push(`${type} ${action} ${name} ${JSON.stringify(attributes)}`);
      }
    }
  });
  change(world);
  end();
  return seen;
}

const web = () => cluster(1).service('web');

describe('events', () => {
  it('tell of services and what changed of them', () => {
    expect(told(cluster(1), (builder) => builder.service('web'))).toEqual(['service create web {}']);
    expect(told(web(), (builder) => builder.scale('web', 3))).toEqual([
      'service update web {"replicas.old":"1","replicas.new":"3"}',
    ]);
    expect(told(web(), (builder) => builder.delete('service', 'web'))).toEqual(['service remove web {}']);
  });

  it('tell how an update goes', () => {
    expect(told(web(), (builder) => builder.rollout('web', { state: 'paused', message: 'why' }))).toEqual([
      'service update web {"updatestate.old":"","updatestate.new":"paused","message":"why"}',
    ]);
    expect(told(web().rollout('web'), (builder) => builder.rollout('web', { progressAt: 5 }))).toEqual([]);
  });

  it('tell of nodes by their host names, with the reason', () => {
    expect(
      told(web(), (builder) => builder.edit('node-status', 'n1', { state: 'suspect', message: 'its session ended' })),
    ).toEqual(['node suspect n1 {"state.old":"ready","state.new":"suspect","reason":"its session ended"}']);
    expect(told(web(), (builder) => builder.drain('n1'))).toEqual([
      'node update n1 {"availability.old":"active","availability.new":"drain"}',
    ]);
  });

  it('tell of tasks, their states and why they failed', () => {
    expect(told(web(), (builder) => builder.task('web.1'))).toEqual([
      'task create web.1 {"service":"web","slot":"1","node":"n1"}',
    ]);
    expect(
      told(web().task('web.1'), (builder) => builder.status('web.1', { state: 'failed', error: 'exit', exitCode: 1 })),
    ).toEqual([
      'task failed web.1 {"service":"web","slot":"1","node":"n1","reason":"exit","exitCode":"1","state.old":"","state.new":"failed"}',
    ]);
  });

  it('are silent about what is no user’s business', () => {
    expect(told(web(), (builder) => builder.edit('node', 'n1', { block: '10.64.9.0/24' }))).toEqual([]);
  });

  it('are kept for those who ask what has just happened, up to a bound', async () => {
    const world = web();
    const stop = new AbortController();
    const feed = new EventFeed(world.store, new FakeClock(1_000));
    feed.run(stop.signal).catch(() => {});
    for (let replicas = 2; replicas < KEPT_MAX + 10; replicas += 1) world.scale('web', replicas);
    await settle();
    const seen: string[] = [];
    const watch = async (): Promise<void> => {
      for await (const event of feed.watch({ types: ['service'], sinceMs: 1 }, stop.signal)) seen.push(event.action);
    };
    watch().catch(() => {});
    await settle();
    expect(seen.length).toBe(KEPT_MAX);
    world.delete('service', 'web');
    await settle();
    expect(seen.at(-1)).toBe('remove');
    stop.abort();
  });
});
