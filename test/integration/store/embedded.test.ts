import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { noLog } from '../../../common/log.ts';
import { EmbeddedEtcd, type EmbeddedOptions } from '../../../manager/store/embedded.ts';
import { Etcd } from '../../../manager/store/etcd.ts';
import { until } from '../../support/until.ts';

const soon = (): AbortSignal => AbortSignal.timeout(30_000);
const isAlive = (pid: number): boolean => {
  try {
    // A zombie is dead; its reaper is not our matter.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

let directory: string;
const running: EmbeddedEtcd[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'covey-embedded-'));
});
afterEach(async () => {
  for (const embedded of running.splice(0)) await embedded.close();
  rmSync(directory, { recursive: true, force: true });
});

async function start(options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedEtcd> {
  const embedded = await EmbeddedEtcd.start({ directory, clock: systemClock, log: noLog, ...options }, soon());
  running.push(embedded);
  return embedded;
}

it('is open to nobody but its owner', async () => {
  const { pid, endpoint } = await start();
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const read = spawnSync('setpriv', [...nobody, 'stat', endpoint.slice('unix:'.length)], { encoding: 'utf8' });
  expect(read.stderr).toMatch(/Permission denied/);
  const sockets = new Set(
    readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return '';
      }
    }),
  );
  const tcp = ['tcp', 'tcp6'].flatMap((name) =>
    readFileSync(`/proc/${pid}/net/${name}`, 'utf8').trim().split('\n').slice(1),
  );
  expect(tcp.filter((line) => sockets.has(`socket:[${line.trim().split(/\s+/)[9]}]`))).toEqual([]);
});

it('keeps its data over a stop and a start, and leaves no process behind', async () => {
  const first = await start();
  const put = (etcd: Etcd) => etcd.txn({ units: [], mark: '/covey/mark' }, soon());
  const client = new Etcd({ endpoints: [first.endpoint], clock: systemClock });
  const { revision } = await put(client);
  client.close();
  const pid = first.pid as number;
  await first.close();
  expect(isAlive(pid)).toBe(false);
  const again = new Etcd({ endpoints: [(await start()).endpoint], clock: systemClock });
  try {
    expect((await put(again)).revision).toBe(revision + 1);
  } finally {
    again.close();
  }
});

it('is started once a directory: the second start waits, then names the pid and the directory', async () => {
  const { pid } = await start();
  await expect(start({ lockWaitSeconds: 1 })).rejects.toMatchObject({
    code: 'exists',
    message: `another etcd (pid ${pid}) runs on ${directory}`,
  });
  expect(isAlive(pid as number)).toBe(true);
});

it('takes over when the other one ends while it waits', async () => {
  const first = await start();
  const second = start({ lockWaitSeconds: 20 });
  await first.close();
  expect((await second).pid).not.toBe(first.pid);
});

it('dies with its manager, even if that is killed', async () => {
  const program = join(import.meta.dirname, '../../support/embedded-child.ts');
  const manager = spawn(process.execPath, ['--import', 'tsx', program, directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    const [line] = (await once(createInterface(manager.stdout), 'line')) as [string];
    const pid = Number(line);
    expect(isAlive(pid)).toBe(true);
    manager.kill('SIGKILL');
    await once(manager, 'exit');
    await until('etcd has ended with its manager', 20_000, () => !isAlive(pid));
  } finally {
    manager.kill('SIGKILL');
  }
});

it('says which program is missing and what to install', async () => {
  await expect(start({ program: 'etcd-that-is-not-there' })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('etcd-that-is-not-there'),
    hint: expect.stringContaining('etcd-server'),
  });
});

it('refuses a directory whose path is too long for a socket', async () => {
  await expect(start({ directory: join(directory, 'x'.repeat(100)) })).rejects.toMatchObject({ code: 'invalid' });
});

it('quotes etcd when it does not start', async () => {
  execFileSync('mkdir', ['-p', join(directory, 'data', 'member', 'wal')]);
  execFileSync('sh', [
    '-c',
    `echo damaged > ${join(directory, 'data', 'member', 'wal', '0000000000000000-0000000000000000.wal')}`,
  ]);
  await expect(start()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining(directory) });
});
