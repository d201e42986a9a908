/** Whole stories of updates as users and hosts cause them, as far as they need no kernel; each has a number. */
import { describe, expect, it } from 'vitest';
import { cluster, type ServiceOptions } from '../../../support/cluster-builder.ts';
import { Rehearsal } from '../../../support/rehearsal.ts';

/** `web` on three nodes, converged. */
function converged(options: ServiceOptions): Rehearsal {
  return new Rehearsal(cluster(3).service('web', options)).run(30_000);
}

function rolled(play: Rehearsal, options: ServiceOptions): Rehearsal {
  play.world.update('web', options);
  return play.watch('web');
}

function rollout(play: Rehearsal) {
  return play.world.get('rollout', 'web');
}

describe('E1 basics', () => {
  it('S1 a new service runs one task on each node and has no update status', () => {
    const play = converged({ replicas: 3 });
    expect(play.running('web')).toBe('web.1 r1 n1, web.2 r1 n2, web.3 r1 n3');
    expect(play.world.view.get('rollout', 'web')).toBeUndefined();
  });

  it('a converged cluster commits nothing and asks to be woken by nobody', () => {
    const play = converged({ replicas: 3 });
    const before = play.commits;
    expect(play.run(600_000).commits).toBe(before);
  });

  it('S3 a crash loop stops after max attempts inside the window', () => {
    const restart = { delayMs: 1_000, maxAttempts: 3, windowMs: 10_000 };
    const play = new Rehearsal(cluster().service('web', { image: 'crash-1000:1', restart })).run(60_000);
    expect([...play.world.view.all('task')]).toHaveLength(4);
    expect(play.run(600_000).running('web')).toBe('');
  });

  it('S3 with restarts further apart than the window it goes on for ever', () => {
    const restart = { delayMs: 5_000, maxAttempts: 3, windowMs: 10_000 };
    const play = new Rehearsal(cluster().service('web', { image: 'crash-1000:1', restart })).run(600_000);
    const commits = play.commits;
    expect(play.run(600_000).commits).toBeGreaterThan(commits);
  });

  it('S5 a killed container has a successor in its slot after five seconds', () => {
    const play = converged({ replicas: 3 });
    play.kill('web.2').run(4_900);
    expect(play.running('web')).toBe('web.1 r1 n1, web.3 r1 n3');
    expect(play.run(500).running('web')).toBe('web.1 r1 n1, web.2 r1 n2, web.3 r1 n3');
  });
});

describe('E2 updates', () => {
  it('S7 a stop-first update keeps three of four running and waits between slots', () => {
    const play = rolled(converged({ replicas: 4 }), { image: 'ok:2', update: { delayMs: 10_000 } }).run(120_000);
    expect([play.fewest, play.most, play.path]).toEqual([3, 4, 'updating completed']);
    expect(play.on('web', 2)).toBe(4);
    const { startedAt, completedAt = 0 } = rollout(play);
    expect(completedAt - startedAt).toBeGreaterThanOrEqual(3 * 15_000 + 5_000);
    expect([...play.overlaps]).toEqual([]);
  });

  it('a stop-first update stops no task while the image of its replacement is pulled', () => {
    const play = rolled(converged({ replicas: 1 }), { image: 'far-30000:2' }).run(29_000);
    expect([play.fewest, play.running('web')]).toEqual([1, 'web.1 r1 n1']);
    play.run(10_000);
    expect([play.fewest, play.most, play.path, play.running('web')]).toEqual([
      0,
      1,
      'updating completed',
      'web.1 r2 n1',
    ]);
    expect([...play.overlaps]).toEqual([]);
  });

  it('a stop-first update to an image that cannot be had stops nothing', () => {
    const play = rolled(converged({ replicas: 2 }), { image: 'absent:2' }).run(300_000);
    expect([play.fewest, play.most, play.path]).toEqual([2, 2, 'updating paused']);
    expect(rollout(play).message).toMatch(/: no such image$/);
  });

  it('a stop-first update goes through where there is room for one task only', () => {
    const world = cluster(1).service('web', { replicas: 2, maxReplicasPerNode: 2 });
    const play = rolled(new Rehearsal(world).run(30_000), { image: 'far-30000:2', maxReplicasPerNode: 2 });
    play.run(120_000);
    expect([play.fewest, play.path, play.on('web', 2)]).toEqual([1, 'updating completed', 2]);
  });

  it('a start-first update never has fewer running than wanted', () => {
    const play = rolled(converged({ replicas: 4 }), {
      image: 'ok:2',
      update: { order: 'start-first', parallelism: 2 },
    });
    play.run(120_000);
    expect([play.fewest, play.most, play.path]).toEqual([4, 6, 'updating completed']);
    expect(play.on('web', 1)).toBe(0);
  });

  it('S9 a crashing image pauses the update after the first batch', () => {
    const play = rolled(converged({ replicas: 6 }), {
      image: 'crash-2000:2',
      update: { parallelism: 2, delayMs: 10_000 },
    });
    play.run(300_000);
    expect([play.on('web', 2), play.on('web', 1), play.path]).toEqual([2, 4, 'updating paused']);
    expect(rollout(play).message).toMatch(
      /^update paused due to failure or early termination of task web\.[1-6]\.t\d+: exit code 1$/,
    );
  });

  it.each([
    [0, 1],
    [0.24, 1],
    [0.25, 2],
    [0.5, 3],
  ])('S11 with failure ratio %d an image that fails at start takes %d of four slots', (maxFailureRatio, slots) => {
    const play = rolled(converged({ replicas: 4 }), {
      image: 'crash-0:2',
      update: { delayMs: 2_000, maxFailureRatio },
    });
    play.run(300_000);
    expect([play.on('web', 2), play.path]).toEqual([slots, 'updating paused']);
  });

  it('T1 a late crash takes no more than the first slot though there is no delay', () => {
    const play = rolled(converged({ replicas: 4 }), { image: 'crash-4000:2' }).run(300_000);
    expect([play.on('web', 2), play.fewest, play.path]).toEqual([1, 3, 'updating paused']);
  });

  it('S12 a failing update rolls back by itself', () => {
    const play = rolled(converged({ replicas: 4 }), { image: 'crash-2000:2', update: { failureAction: 'rollback' } });
    play.run(120_000);
    expect(play.path).toBe('updating rollback_started rollback_completed');
    expect(play.on('web', 1)).toBe(4);
    const service = play.world.get('service', 'web');
    expect([service.revision, service.rolledBack, service.previous?.revision]).toEqual([1, true, 2]);
  });

  it('S13 a rollback that fails too is paused and stays so', () => {
    const play = converged({ replicas: 4, image: 'ok:1' });
    rolled(play, { image: 'crash-2000:2', update: { failureAction: 'rollback' } });
    const bad = play.world.get('revision', 'web.2');
    play.world.put('revision', 'web.1', { ...bad, number: 1, template: { ...bad.template, forceUpdate: 9 } });
    play.run(300_000);
    expect(play.path).toBe('updating rollback_started rollback_paused');
    expect(rollout(play).message).toMatch(/^rollback paused due to failure or early termination of task web\./);
  });

  it('S15 a rollback of a rollback goes forward again', () => {
    const play = rolled(converged({ replicas: 2 }), { image: 'ok:2' }).run(60_000);
    const toggle = () => {
      const { previous, ...service } = play.world.get('service', 'web');
      if (previous === undefined) throw new Error('there is always a previous spec');
      const { spec, revision } = service;
      play.world.put('service', 'web', { ...service, ...previous, previous: { spec, revision }, rolledBack: true });
      play.run(60_000);
    };
    toggle();
    expect(play.on('web', 1)).toBe(2);
    toggle();
    expect(play.on('web', 2)).toBe(2);
    expect(play.path).toBe(
      'updating completed rollback_started rollback_completed rollback_started rollback_completed',
    );
  });

  it('S17 a new image goes on from a paused update', () => {
    const play = rolled(converged({ replicas: 6 }), { image: 'crash-2000:2', update: { parallelism: 2 } }).run(60_000);
    play.world.update('web', { image: 'ok:3', update: { parallelism: 2 } });
    play.run(120_000);
    expect([play.on('web', 3), play.path]).toEqual([6, 'updating paused updating completed']);
  });

  it('T7 a label edit does not resume a paused update', () => {
    const play = rolled(converged({ replicas: 4 }), { image: 'crash-2000:2' }).run(60_000);
    play.world.respec('web', { labels: { team: 'blue' } });
    play.run(120_000);
    expect([play.on('web', 2), play.path]).toEqual([1, 'updating paused']);
  });

  it('S19 an update that cannot be placed fails at its progress deadline and says why', () => {
    const play = converged({ replicas: 4 });
    rolled(play, { constraints: ['node.labels.zone==moon'], update: { progressDeadlineMs: 60_000 } }).run(59_000);
    expect(rollout(play).state).toBe('updating');
    play.run(5_000);
    expect([rollout(play).state, play.fewest]).toEqual(['paused', 3]);
    expect(rollout(play).message).toMatch(
      /^update paused as slot \d got no further in 1 min \(task web\.\d\.t\d+\): no suitable node/,
    );
  });

  it('S21 a deaf task is waited for, however long it takes', () => {
    const play = converged({ image: 'deaf:1', stopGraceMs: 90_000 });
    play.world.update('web', { image: 'ok:2' });
    play.run(89_000);
    expect(play.running('web')).toBe('');
    play.run(10_000);
    expect(play.running('web')).toMatch(/^web\.1 r2/);
    expect([...play.overlaps]).toEqual([]);
  });

  it('T4 a broken image stops no healthy task when the order is start-first, whatever the failure action', () => {
    const update = { order: 'start-first', failureAction: 'continue', progressDeadlineMs: 120_000 } as const;
    const play = rolled(converged({ replicas: 2 }), { image: 'crash-200:2', update }).run(600_000);
    expect([play.fewest, play.path]).toEqual([2, 'updating paused']);
  });

  it('T6 a rollback of slots that may not restart is monitored', () => {
    const restart = { condition: 'none' } as const;
    const update = { failureAction: 'rollback', parallelism: 2 } as const;
    const play = rolled(converged({ replicas: 2, restart }), { image: 'crash-1000:2', restart, update }).run(60_000);
    expect(play.path).toBe('updating rollback_started rollback_completed');
    const { startedAt, completedAt = 0 } = rollout(play);
    expect(completedAt - startedAt).toBeGreaterThanOrEqual(5_000);
    expect(play.on('web', 1)).toBe(2);
  });

  it('I19 an update that continues past failures is completed only when every slot holds', () => {
    const update = { failureAction: 'continue', progressDeadlineMs: 60_000 } as const;
    const play = rolled(converged({ replicas: 2 }), { image: 'crash-1000:2', update }).run(600_000);
    expect(play.path).toBe('updating paused');
    expect(rollout(play).message).toMatch(/^update paused as slot \d got no further in 1 min/);
  });
});

describe('E3 scale', () => {
  it('S25 scaling down leaves the copies spread', () => {
    const world = cluster(3).service('web', { replicas: 6 });
    const nodes = ['n1', 'n1', 'n1', 'n2', 'n2', 'n3'];
    for (const [index, node] of nodes.entries()) world.running(`web.${index + 1}`, { node });
    const play = new Rehearsal(world.scale('web', 3)).run(5_000);
    expect(play.running('web').match(/n\d/g)).toEqual(['n1', 'n2', 'n3']);
  });

  it('S27 scaling up during an update starts the new slots on the new revision', () => {
    const play = rolled(converged({ replicas: 6 }), { image: 'ok:2' }).run(12_000);
    play.world.scale('web', 10);
    play.run(1_000);
    expect(play.on('web', 2)).toBeGreaterThanOrEqual(6);
    expect(play.on('web', 1)).toBeGreaterThan(0);
    play.run(120_000);
    expect([play.on('web', 2), play.path]).toEqual([10, 'updating completed']);
    expect(rollout(play).total).toBe(6);
  });

  it('scales to ten, two, nothing and three', () => {
    const play = converged({ replicas: 3 });
    for (const replicas of [10, 2, 0, 3]) {
      play.world.scale('web', replicas);
      play.run(10_000);
      const wanted = play.running('web').split(', ').filter(Boolean);
      expect(wanted).toHaveLength(replicas);
      const counts = ['n1', 'n2', 'n3'].map((node) => wanted.filter((task) => task.endsWith(node)).length);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }
  });
});

describe('E4 nodes', () => {
  it('a lost host is replaced once it has been silent for long enough, and nothing moves back', () => {
    const play = converged({ replicas: 3 });
    play.cut('n3').run(14_900);
    expect(play.running('web')).toContain('n3');
    const elsewhere = play.run(1_000).running('web');
    expect(elsewhere).not.toContain('n3');
    play.heal('n3').run(60_000);
    expect([play.running('web'), play.containersOn('n3')]).toEqual([elsewhere, 0]);
  });

  it('a host that is silent for eight seconds has nothing restarted', () => {
    const play = converged({ replicas: 3 });
    const commits = play.commits;
    play.cut('n3').run(8_000).heal('n3').run(60_000);
    expect(play.commits).toBe(commits);
  });

  it('S33 a flapping node leads to no more than the wanted tasks and a bounded history', () => {
    const play = converged({ replicas: 3 }).watch('web');
    for (let flap = 0; flap < 10; flap += 1) play.cut('n3').run(30_000).heal('n3').run(30_000);
    expect(play.most).toBe(3);
    expect([...play.world.view.all('task')].length).toBeLessThanOrEqual(3 * 6);
    expect(play.running('web')).not.toContain('n3');
  });

  it('S35 draining during an update neither pauses it nor goes by way of the old revision', () => {
    const play = rolled(converged({ replicas: 4 }), { image: 'ok:2', update: { delayMs: 10_000 } }).run(7_000);
    play.world.drain('n1');
    const moved: number[] = [];
    play.world.store.onBatch((batch) => {
      for (const change of batch.changes) {
        if (change.kind === 'task' && change.before === undefined) moved.push(change.after?.revision ?? 0);
      }
    });
    play.run(200_000);
    expect([play.path, play.on('web', 2), play.containersOn('n1')]).toEqual(['updating completed', 4, 0]);
    expect(moved.every((revision) => revision === 2)).toBe(true);
  });

  it('draining empties a node without a moment with fewer tasks serving', () => {
    const play = converged({ replicas: 3 }).watch('web');
    play.world.drain('n1');
    play.run(60_000);
    expect([play.fewest, play.containersOn('n1')]).toEqual([3, 0]);
    play.world.edit('node', 'n1', { availability: 'active' });
    expect(play.run(60_000).containersOn('n1')).toBe(0);
  });

  it('S37 a task killed on a paused node is replaced elsewhere while the others stay', () => {
    const play = converged({ replicas: 6 });
    play.world.edit('node', 'n1', { availability: 'pause' });
    play.kill('web.1').run(10_000);
    expect(play.containersOn('n1')).toBe(1);
    expect(play.running('web').split(', ')).toHaveLength(6);
  });

  it('S39 a changed constraint moves tasks at the pace of the update', () => {
    const world = cluster(0)
      .node('n1', { labels: { zone: 'a' } })
      .node('n2', { labels: { zone: 'b' } });
    const play = new Rehearsal(world.service('web', { replicas: 3, constraints: ['node.labels.zone==a'] })).run(10_000);
    expect(play.containersOn('n1')).toBe(3);
    rolled(play, { constraints: ['node.labels.zone==b'] }).run(60_000);
    expect([play.fewest, play.containersOn('n1'), play.containersOn('n2'), play.path]).toEqual([
      2,
      0,
      3,
      'updating completed',
    ]);
  });

  it('a widened constraint leaves every task where it is and completes at once', () => {
    const world = cluster(0)
      .node('n1', { labels: { zone: 'a' } })
      .node('n2', { labels: { zone: 'b' } });
    const play = new Rehearsal(world.service('web', { replicas: 3, constraints: ['node.labels.zone==a'] })).run(10_000);
    rolled(play, {}).run(10_000);
    expect([play.containersOn('n1'), play.path]).toEqual([3, 'completed']);
  });

  it('a label that no longer fits moves its tasks without an outage', () => {
    const world = cluster(0)
      .node('n1', { labels: { zone: 'a' } })
      .node('n2', { labels: { zone: 'a' } });
    const play = new Rehearsal(world.service('web', { replicas: 4, constraints: ['node.labels.zone==a'] })).run(10_000);
    play.watch('web');
    world.edit('node', 'n1', { labels: { zone: 'b' } });
    play.run(30_000);
    expect([play.fewest, play.containersOn('n1'), play.containersOn('n2')]).toEqual([4, 0, 4]);
  });

  it('S43 slots beyond the limit a node wait for another node', () => {
    const play = new Rehearsal(cluster(3).service('web', { replicas: 8, maxReplicasPerNode: 2 }));
    expect(play.run(10_000).running('web').split(', ')).toHaveLength(6);
    play.world.node('n4');
    expect(play.run(10_000).running('web').split(', ')).toHaveLength(8);
  });
});

describe('a removed service', () => {
  it('leaves nothing behind', () => {
    const play = rolled(converged({ replicas: 3 }), { image: 'ok:2' }).run(60_000);
    play.world.delete('service', 'web');
    play.run(10_000);
    for (const kind of ['task', 'task-status', 'revision', 'rollout'] as const) {
      expect([...play.world.view.all(kind)]).toEqual([]);
    }
  });
});
