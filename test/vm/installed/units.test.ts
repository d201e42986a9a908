/** A host as the README makes one: our units beneath systemd, a service, and an agent that comes and goes. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { rows, say, type TaskRow } from '../../support/dev-cluster.ts';
import { ask } from '../../support/load.ts';
import { until } from '../../support/until.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const UNITS = join(ROOT, 'deploy', 'systemd');
const PROGRAMS = realpathSync(join(ROOT, 'dist'));
const STATE = '/var/lib/covey';
const ADDRESS = '10.9.9.1';
const DOOR = `${ADDRESS}:2377`;
/** Ten times as long in test/vm. */
const SLOWLY_MS = 30_000;

/** On the disk. */
let disk: string;
const run = (command: string, ...args: readonly string[]) => execFileSync(command, args, { stdio: 'pipe' });

async function must(command: string, ...args: readonly string[]): Promise<string> {
  const { code, out, err } = await say(command, args);
  if (code === 0) return out;
  const journal = await say('journalctl', ['--no-pager', '-n', '40', '-u', 'covey-*']);
  throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${out}${err}\n${journal.out}`);
}

/** The one task that runs. */
async function task(): Promise<TaskRow | undefined> {
  const { code, out } = await say('covey', ['service', 'ps', '--format', 'json', 'web']);
  const running = rows<TaskRow>(code === 0 ? out : '').filter((one) => one.CurrentState.startsWith('Running'));
  return running.length === 1 ? running[0] : undefined;
}

const cgroupOf = (pid: string) => readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim();

// Nothing is removed: the machine is thrown away with all of it.
beforeAll(async () => {
  for (const [name, folder] of [['covey', 'cli'] as const, ['covey-manager', 'manager'], ['covey-agent', 'agent']])
    symlinkSync(join(PROGRAMS, folder as string, 'main.js'), join('/usr/local/bin', name as string));
  for (const name of readdirSync(UNITS)) copyFileSync(join(UNITS, name), join('/etc/systemd/system', name));
  run('systemctl', 'daemon-reload');
  // On the disk: the rest of this machine is in memory, which takes no mapped ids on its kernel.
  disk = mkdtempSync(join(tmpdir(), 'disk-'));
  for (const folder of [STATE, join(disk, 'state')]) mkdirSync(folder, { recursive: true });
  run('mount', '--bind', join(disk, 'state'), STATE);
  run('ip', 'link', 'add', 'lan', 'type', 'dummy');
  run('ip', 'address', 'add', `${ADDRESS}/24`, 'dev', 'lan');
  run('ip', 'link', 'set', 'lan', 'up');
  await must('covey', 'cluster', 'init', '--advertise', DOOR);
  const token = await until('the manager gives a token', SLOWLY_MS, async () => {
    const { code, out } = await say('covey', ['cluster', 'token', '--quiet']);
    return code === 0 && out.trim();
  });
  await must('covey-agent', 'join', '--address', ADDRESS, '--token', token, DOOR);
  await must('systemctl', 'enable', '--now', 'covey-agent');
  await must(process.execPath, join(PROGRAMS, 'deploy', 'dev', 'images.js'), disk);
  await must('covey', 'image', 'load', join(disk, 'web-1.tar'));
  await must('covey', 'service', 'create', '--detach', '--name', 'web', '-p', '8080:80', 'web:1');
  await until('the service runs', SLOWLY_MS, task);
});
it('runs its containers in the delegated scope of covey.slice, never beneath the unit', async () => {
  const { Pid } = (await task()) as TaskRow;
  expect(cgroupOf(Pid)).toMatch(/^0::\/covey\.slice\/covey-containers\.scope\/[^/]+$/);
  expect(readdirSync('/sys/fs/cgroup/covey.slice')).toContain('covey-containers.scope');
  expect(run('systemctl', 'is-active', 'covey-manager', 'covey-agent', 'covey.slice').toString()).toBe(
    'active\nactive\nactive\n',
  );
});

it('a container answers while its agent is stopped, and the agent takes it up when it is back', async () => {
  const before = (await task()) as TaskRow;
  await must('systemctl', 'stop', 'covey-agent');
  expect((await ask(`http://${ADDRESS}:8080/`)).version).toBe('1');
  await must('systemctl', 'start', 'covey-agent');
  const after = await until('the node is ready with its task', SLOWLY_MS, async () => {
    const { out } = await say('covey', ['node', 'ls', '--format', 'json']);
    return rows<{ Status: string }>(out)[0]?.Status === 'Ready' && task();
  });
  expect(after).toMatchObject({ ID: before.ID, Pid: before.Pid });
});

it('an agent that is killed is started again by systemd and takes its container up', async () => {
  const before = (await task()) as TaskRow;
  const pidOf = () => run('systemctl', 'show', '-p', 'MainPID', '--value', 'covey-agent').toString().trim();
  const killed = pidOf();
  process.kill(Number(killed), 'SIGKILL');
  await until('systemd has started another', SLOWLY_MS, () => !['0', killed].includes(pidOf()));
  await until('it is active', SLOWLY_MS, async () => (await say('systemctl', ['is-active', 'covey-agent'])).code === 0);
  expect(await until('its task runs', SLOWLY_MS, task)).toMatchObject({ ID: before.ID, Pid: before.Pid });
});
