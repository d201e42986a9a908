import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { aborted } from '../../../common/iterate.ts';
import type { Manager } from '../../../common/model/cluster.ts';
import type { Etcd } from '../../../manager/store/etcd.ts';
import type { EtcdStore } from '../../../manager/store/etcd-store.ts';
import { maintain } from '../../../manager/store/maintenance.ts';
import { type Batch, type CommitResult, put, remove, type Store, type Unit } from '../../../manager/store/store.ts';
import { TestEtcd, testLog } from '../../support/etcd.ts';
import { aTask } from '../../support/objects.ts';
import { Relay } from '../../support/relay.ts';
import { throughout, until } from '../../support/until.ts';

const candidate = (name: string) => ({ managerId: name as Manager['id'], address: `${name}:1` });
const soon = (): AbortSignal => AbortSignal.timeout(40_000);
const aUnit = (id: string, size = 10): Unit => [put('task', id, aTask(id, 'web', { pending: 'x'.repeat(size) }))];
const kinds = (results: readonly CommitResult[]): string[] => results.map((result) => result.kind);

/** Reads changes until `enough`; gives everything that was read. */
async function readUntil(
  changes: AsyncIterable<Batch | 'resync'>,
  enough: (next: Batch | 'resync') => boolean,
): Promise<(Batch | 'resync')[]> {
  const seen: (Batch | 'resync')[] = [];
  for await (const next of changes) {
    seen.push(next);
    if (enough(next)) break;
  }
  return seen;
}

/** Commits again until etcd takes it. */
function commitAtLast(store: Store, unit: Unit): Promise<number> {
  return until('etcd takes a commit', 30_000, async () => {
    const [result] = await store.commit([unit], soon());
    return result?.kind === 'done' && result.revision;
  });
}

let server: TestEtcd;
let etcd: Etcd;
let store: EtcdStore;

async function start(options: { readonly quotaBytes?: number } = {}): Promise<void> {
  server = await TestEtcd.start(options);
  etcd = server.client();
  store = await server.store(etcd);
}
afterEach(async () => {
  await server?.close();
});

describe('etcd killed and started again', () => {
  beforeEach(() => start());

  it('has everything, and the watch goes on without a gap or a doubled event', async () => {
    const changes = store.changes(soon());
    await store.commit([aUnit('before')], soon());
    const pid = server.server.pid;
    // Written by somebody else right before the end, so that some of it may not have been delivered yet.
    const writer = await server.store();
    const written = Array.from({ length: 50 }, (_, index) => `w${index}`);
    for (const id of written) await writer.commit([aUnit(id)], soon());
    server.signal('SIGKILL');
    const last = await commitAtLast(writer, aUnit('after'));
    await store.reached(last, soon());
    const seen = await readUntil(changes, (next) => next !== 'resync' && next.revision >= last);
    const ids = seen.flatMap((next) => (next === 'resync' ? ['resync'] : next.changes.map((change) => change.id)));
    expect(ids).toEqual(['before', ...written, 'after']);
    expect(server.server.pid).not.toBe(pid);
  });

  it('leaves a reign in force when it is back in time', async () => {
    const reign = await store.reign(candidate('m1'), soon());
    server.signal('SIGKILL');
    await commitAtLast(store, aUnit('back'));
    expect(reign.lost.aborted).toBe(false);
    expect(kinds(await reign.commit([aUnit('mine')], soon()))).toEqual(['done']);
    await reign.resign();
  });
});

describe('a compaction that overtakes a manager', () => {
  beforeEach(() => start());

  it('makes it read everything again, with the right differences, and tells its readers', async () => {
    await store.commit([aUnit('gone'), aUnit('kept')], soon());
    await store.caughtUp(soon());
    const kept = store.view.get('task', 'kept');
    // The manager stops reading while etcd moves on and forgets: as one that was suspended does.
    const relay = await Relay.start(server.server.endpoint);
    try {
      const behind = await server.store(server.client(relay.endpoint));
      const changes = behind.changes(soon());
      relay.cut();
      await store.commit([[remove('task', 'gone')], aUnit('new')], soon());
      await etcd.compact(await commitAtLast(store, aUnit('last')), soon());
      expect(behind.view.get('task', 'gone')).toBeDefined();
      await relay.mend();
      expect(await readUntil(changes, () => true)).toEqual(['resync']);
      expect([...behind.view.all('task')].map((stored) => stored.value.id).sort()).toEqual(['kept', 'last', 'new']);
      expect(behind.view.get('task', 'kept')).toEqual(kept);
      const [result] = await store.commit([aUnit('more')], soon());
      await behind.reached(result?.kind === 'done' ? result.revision : 0, soon());
    } finally {
      await relay.close();
    }
  });
});

describe('a watch that breaks', () => {
  beforeEach(() => start());

  it('goes on behind the last event delivered, however often it breaks', async () => {
    const relay = await Relay.start(server.server.endpoint);
    try {
      const behind = await server.store(server.client(relay.endpoint));
      const changes = behind.changes(soon());
      const written: string[] = [];
      let last = 0;
      for (let round = 0; round < 5; round += 1) {
        for (let index = 0; index < 20; index += 1) {
          written.push(`r${round}-${index}`);
          // Cut in the middle, so that events are delivered before, lost in between and made while it is away.
          if (index === 10) relay.cut();
          last = await commitAtLast(store, aUnit(`r${round}-${index}`));
        }
        await relay.mend();
        await behind.reached(last, soon());
      }
      const seen = await readUntil(changes, (next) => next === 'resync' || next.revision >= last);
      expect(
        seen.flatMap((next) => (next === 'resync' ? ['resync'] : next.changes.map((change) => change.id))),
      ).toEqual(written);
    } finally {
      await relay.close();
    }
  });
});

describe('etcd that stands still', () => {
  beforeEach(() => start());

  it('for 10 s refuses commits as unavailable, ends the reign in time and recovers', async () => {
    const reign = await store.reign(candidate('m1'), soon());
    server.signal('SIGSTOP');
    try {
      const stopped = systemClock.now();
      await aborted(reign.lost);
      expect(systemClock.now() - stopped).toBeLessThan(3_000);
      await throughout('commits are refused as unavailable', 10_000 - (systemClock.now() - stopped), () =>
        store.commit([aUnit('x')], soon()).then(
          () => false,
          (cause: { readonly code?: string }) => cause.code === 'unavailable',
        ),
      );
    } finally {
      server.signal('SIGCONT');
    }
    expect(await reign.commit([aUnit('y')], soon()).then(kinds)).toEqual(['lost']);
    const next = await store.reign(candidate('m1'), soon());
    expect(kinds(await next.commit([aUnit('z')], soon()))).toEqual(['done']);
    await store.caughtUp(soon());
    expect(store.view.get('task', 'z')).toBeDefined();
    expect(store.view.get('task', 'y')).toBeUndefined();
    await next.resign();
  });
});

describe('a manager whose link to etcd is cut', () => {
  beforeEach(() => start());

  it('has lost its reign before another one leads', async () => {
    const relay = await Relay.start(server.server.endpoint);
    try {
      const order: string[] = [];
      const reign = await (await server.store(server.client(relay.endpoint))).reign(candidate('m1'), soon());
      reign.lost.addEventListener('abort', () => order.push('lost'));
      const next = store.reign(candidate('m2'), soon()).then((won) => {
        order.push('won');
        return won;
      });
      relay.cut();
      await (await next).resign();
      expect(order).toEqual(['lost', 'won']);
    } finally {
      await relay.close();
    }
  });
});

describe('a full etcd', () => {
  beforeEach(() => start({ quotaBytes: 4 * 1024 * 1024 }));

  it('refuses commits as exhausted and takes them again after maintenance', async () => {
    await expect(
      (async () => {
        // One object written over and over: history fills the quota, not what is stored.
        for (let round = 0; round < 200; round += 1) await store.commit([aUnit('big', 200_000)], soon());
      })(),
    ).rejects.toMatchObject({ code: 'exhausted', hint: expect.stringContaining('quota') });
    expect((await etcd.health(soon())).alarms).toEqual(['NOSPACE']);
    const stop = new AbortController();
    const maintenance = maintain({ etcd, clock: systemClock, log: testLog }, stop.signal);
    await commitAtLast(store, aUnit('again'));
    stop.abort();
    await maintenance;
    expect((await etcd.health(soon())).alarms).toEqual([]);
    expect(store.view.get('task', 'big')?.value.pending).toHaveLength(200_000);
  });
});
