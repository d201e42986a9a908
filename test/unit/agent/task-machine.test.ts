import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { next, type Seen } from '../../../agent/task-machine.ts';
import { isTerminal, type TaskStatus } from '../../../common/model/task.ts';
import { aHeld, PORT_80 } from '../../support/agent-rig.ts';
import { TaskWorld, type Trouble } from '../../support/task-world.ts';

const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  fc.record({
    kind: fc.constant('desire' as const),
    desired: fc.constantFrom('running', 'running', 'shutdown', 'remove'),
  }),
  fc.constant({ kind: 'release' as const }),
  fc.record({ kind: fc.constant('exit' as const), code: fc.constantFrom(0, 1) }),
  fc.constant({ kind: 'ready' as const }),
  fc.constant({ kind: 'unwell' as const }),
  fc.record({ kind: fc.constant('step fails' as const), final: fc.boolean() }),
  fc.record({ kind: fc.constant('session' as const), isOpen: fc.boolean() }),
  fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(1, 1_000, 6_000, 60_000) }),
  fc.constant({ kind: 'agent restarts' as const }),
  fc.constant({ kind: 'host restarts' as const }),
);

const start = fc.record({
  desired: fc.constantFrom('ready' as const, 'running' as const),
  ports: fc.constantFrom([], [PORT_80]),
  condition: fc.constantFrom('any' as const, 'on-failure' as const, 'none' as const),
  maxAttempts: fc.constantFrom(0, 2),
});

function world({ desired, ports, condition, maxAttempts }: typeof start extends fc.Arbitrary<infer T> ? T : never) {
  const restart = { condition, maxAttempts, delayMs: 1_000, windowMs: 0 };
  return new TaskWorld(aHeld('t1', { task: { desired }, ports, template: { restart }, container: { drainMs: 5_000 } }));
}

describe('whatever happens to a task', () => {
  it('its states never go back, at most one container runs, and what has ended stays ended', () => {
    fc.assert(
      fc.property(start, fc.array(trouble, { maxLength: 40 }), (options, troubles) => {
        const task = world(options);
        task.settle();
        for (const each of troubles) {
          const wasOver = task.status !== undefined && isTerminal(task.status.state);
          const { started } = task;
          task.make(each);
          task.settle();
          if (wasOver) expect(task.started).toBe(started);
        }
        const numbers = (task.status?.runs ?? []).map((run) => run.number);
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
        if (options.maxAttempts > 0) expect(task.started).toBeLessThanOrEqual(1 + options.maxAttempts);
      }),
      { numRuns: 3_000 },
    );
  });

  it('it is gone in a bounded time once it is wanted no more, with a manager or without', () => {
    fc.assert(
      fc.property(start, fc.array(trouble, { maxLength: 20 }), fc.boolean(), (options, troubles, isOpen) => {
        const task = world(options);
        for (const each of troubles) {
          task.make(each);
          task.settle();
        }
        task.make({ kind: 'session', isOpen });
        task.make({ kind: 'desire', desired: 'shutdown' });
        if (isOpen) task.make({ kind: 'release' });
        for (let second = 0; second < 10; second += 1) {
          task.settle();
          task.make({ kind: 'time', ms: 1_000 });
        }
        task.settle();
        expect(isTerminal(task.status?.state ?? 'accepted')).toBe(true);
        expect(task.container.kind).not.toBe('running');
      }),
      { numRuns: 1_000 },
    );
  });

  it('it runs in the end when nothing disturbs it any more', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constant({ kind: 'step fails' as const, final: false }), { maxLength: 5 }),
        (troubles) => {
          const task = new TaskWorld();
          for (const each of troubles) {
            task.make(each);
            task.settle();
            task.make({ kind: 'time', ms: 1_000 });
          }
          task.settle();
          task.make({ kind: 'ready' });
          task.settle();
          expect(task.status?.state).toBe('running');
        },
      ),
    );
  });
});

it('counts a further run that died before it was ready against the restart budget', () => {
  const restart = { condition: 'any', maxAttempts: 2, delayMs: 1_000, windowMs: 0 } as const;
  const task = new TaskWorld(aHeld('t1', { template: { restart } }));
  task.settle();
  const story: readonly Trouble[] = [
    { kind: 'ready' },
    { kind: 'host restarts' },
    { kind: 'time', ms: 6_000 },
    { kind: 'unwell' },
    { kind: 'time', ms: 60_000 },
    { kind: 'exit', code: 0 },
    { kind: 'time', ms: 60_000 },
  ];
  for (const each of story) {
    task.make(each);
    task.settle();
  }
  expect(task.started).toBe(3);
  expect(task.status?.state).toBe('complete');
});

it('says that a container has ended before it cleans up after it', () => {
  const task = new TaskWorld();
  task.settle();
  task.make({ kind: 'ready' });
  task.settle();
  const exit = { code: 1, signal: null, oomKilled: false, startedAt: 0, finishedAt: 1 };
  const seen: Seen = {
    run: 1,
    hasImage: true,
    container: { kind: 'exited', exit, attached: true },
    runs: task.status?.runs ?? [],
    manager: { kind: 'session' },
  };
  const step = next(aHeld('t1'), seen, task.status, 2);
  expect(step).toMatchObject({ kind: 'report', said: { state: 'failed' } });
  expect(next(aHeld('t1'), seen, { ...task.status, state: 'failed' } as TaskStatus, 2).kind).toBe('detach');
});
