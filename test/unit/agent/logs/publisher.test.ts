/** What of a task's logs is sent, read from real files. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createRequest } from '../../../../agent/container-request.ts';
import { LogPublisher } from '../../../../agent/logs/publisher.ts';
import type { Container } from '../../../../agent/runtime/runtime.ts';
import { noLog } from '../../../../common/log.ts';
import type { RpcChannel } from '../../../../proto/rpc-channel.ts';
import { aHeld, DIGEST } from '../../../support/agent-rig.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { PLAIN_CONFIG } from '../../../support/fake-images.ts';
import { until } from '../../../support/until.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-logs-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

let second = 0;
function lines(...texts: readonly string[]): string {
  return texts
    .map((text) => {
      second += 1;
      return `2026-01-01T00:00:${String(second).padStart(2, '0')}.000000000Z stdout F ${text}\n`;
    })
    .join('');
}

/** Run `run` of task t1, whose log files are given newest first. */
async function aRun(run: number, ...files: readonly string[]): Promise<Container> {
  const logPath = join(dir, `log-${run}`);
  for (const [age, text] of files.entries()) await writeFile(age === 0 ? logPath : `${logPath}.${age}`, text);
  const held = aHeld('t1');
  const { labels } = createRequest(held, run, { digest: DIGEST, layers: [], config: PLAIN_CONFIG }, []);
  const exit = { code: 1, signal: null, oomKilled: false, startedAt: 0, finishedAt: 0 };
  const place = {
    id: `c${run}`,
    pid: 0,
    startTime: 0,
    netnsPath: '',
    logPath,
    compressesLog: false,
    createdAt: 0,
    run: 1,
  };
  return { ...place, pastRuns: [], state: 'exited', labels, exit };
}

/** The lines published for a request. */
async function published(containers: readonly Container[], tail: number): Promise<readonly string[]> {
  const texts: string[] = [];
  let isOver = false;
  const publishLogs = async (messages: AsyncIterable<{ readonly lines?: readonly { text?: Uint8Array }[] }>) => {
    for await (const message of messages)
      for (const line of message.lines ?? []) texts.push(String(Buffer.from(line.text ?? [])));
    isOver = true;
  };
  const channel = { service: () => ({ publishLogs }) } as unknown as RpcChannel;
  const runtime = { list: () => Promise.resolve(containers) };
  const publisher = new LogPublisher({ runtime, isOver: () => true, clock: new FakeClock(), log: noLog });
  publisher.begin({ id: 'r1', tasks: ['t1'], follow: false, tail, since: 0 }, channel);
  await until('the answer ends', 5_000, async () => {
    await settle();
    return isOver || undefined;
  });
  return texts;
}

it('counts a tail over all runs of a task and all files of a log', async () => {
  const first = await aRun(1, lines('a', 'b', 'c'));
  const [old, young] = [lines('d', 'e'), lines('f')];
  const runs = [first, await aRun(2, young, old)];
  expect(await published(runs, 1)).toEqual(['f']);
  expect(await published(runs, 2)).toEqual(['e', 'f']);
  expect(await published(runs, 4)).toEqual(['c', 'd', 'e', 'f']);
  expect(await published(runs, 100)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  expect(await published(runs, 0)).toEqual([]);
  expect(await published(runs, -1)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
});
