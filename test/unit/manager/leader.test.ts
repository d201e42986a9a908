import { expect, it } from 'vitest';
import { aborted } from '../../../common/iterate.ts';
import { noLog } from '../../../common/log.ts';
import { lead } from '../../../manager/leader.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { MemoryEtcd, type MemoryReign } from '../../support/memory-store.ts';

const candidate = (name: string) => ({ managerId: name as never, address: `${name}:1` });

it('rules one reign after the other, each stopped before the next begins', async () => {
  const etcd = new MemoryEtcd();
  const stop = new AbortController();
  const story: string[] = [];
  const rule = async (reign: { epoch: { reign: number } }, signal: AbortSignal): Promise<void> => {
    story.push(`begin ${reign.epoch.reign}`);
    await aborted(signal);
    story.push(`end ${reign.epoch.reign}`);
  };
  const leading = lead(
    { store: etcd.connect(), clock: new FakeClock(), candidate: candidate('m1'), log: noLog, rule },
    stop.signal,
  );
  await settle();
  etcd.depose();
  await settle();
  stop.abort();
  await leading;
  expect(story).toEqual(['begin 1', 'end 1', 'begin 3', 'end 3']);
  expect(etcd.reigning).toBeUndefined();
});

it('gives the lead to another manager when its own work fails, and stands again after a while', async () => {
  const etcd = new MemoryEtcd();
  const clock = new FakeClock();
  const stop = new AbortController();
  const second = etcd.connect();
  let next: Promise<MemoryReign> | undefined;
  const rule = async (): Promise<void> => {
    next ??= second.reign(candidate('m2'), stop.signal);
    throw new Error('a bug');
  };
  const first = lead({ store: etcd.connect(), clock, candidate: candidate('m1'), log: noLog, rule }, stop.signal);
  await settle();
  await next;
  expect(second.view.get('leader', 'default')?.value.managerId).toBe('m2');
  clock.advance(1_000);
  await settle();
  expect(second.view.get('leader', 'default')?.value.managerId).toBe('m2');
  stop.abort();
  await first;
});
