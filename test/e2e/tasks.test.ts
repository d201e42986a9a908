/** What a task tells: its health, its output, its environment, its events. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Status } from '../../deploy/dev/status.ts';
import { background } from '../support/background.ts';
import { DevCluster, rows } from '../support/dev-cluster.ts';
import { ask } from '../support/load.ts';
import { buildShellImage } from '../support/shell-image.ts';
import { until } from '../support/until.ts';

let cluster: DevCluster;
let status: Status;

beforeAll(async () => {
  cluster = await DevCluster.up('--hosts', '2');
  status = await cluster.status();
  await cluster.load('sick:1');
  await cluster.load('lines:1');
  await cluster.load('crash:1');
});
afterAll(() => cluster?.clean());

const QUICK = [
  '--health-interval',
  '500ms',
  '--health-timeout',
  '5s',
  '--health-retries',
  '2',
  '--restart-delay',
  '0s',
];

it('counts a task as running only when its health command has passed', async () => {
  const flags = ['--name', 'late', '--detach', '--health-cmd', 'exit 1', ...QUICK];
  await cluster.must('service', 'create', ...flags, '--health-start-period', '60s', 'web:1');
  const [starting] = await until('it starts', 20_000, async () => {
    const tasks = await cluster.tasks('late');
    return tasks.some((task) => task.CurrentState.startsWith('Starting')) && tasks;
  });
  expect(starting?.DesiredState).toBe('Running');
  const said = await cluster.covey('service', 'update', '--health-cmd', '/server check', '--timeout', '60s', 'late');
  expect(said.code, said.err).toBe(0);
  expect(await cluster.running('late')).toHaveLength(1);
  await cluster.must('service', 'rm', 'late');
});

it('fails a task that is not ready within its start timeout, saying which port', async () => {
  const once = ['--restart-condition', 'none', '--start-timeout', '1s', '--detach'];
  await cluster.must('service', 'create', '--name', 'deaf', '-p', '8099:81', ...once, 'web:1');
  const failed = await until('it has failed', 30_000, async () =>
    (await cluster.tasks('deaf')).find((task) => task.CurrentState.startsWith('Failed')),
  );
  expect(failed.Error).toMatch(/81/);
  await cluster.must('service', 'rm', 'deaf');
});

it('takes a task that becomes unhealthy out of the balancer and replaces it', async () => {
  const events = background(process.execPath, ['dist/cli/main.js', 'events', '--type', 'task'], {
    ...process.env,
    COVEY_CONTEXT: status.context,
  });
  try {
    const flags = ['--name', 'sick', '-p', '8090:80', '--detach', '--health-cmd', '/server check', ...QUICK];
    await cluster.must('service', 'create', ...flags, 'sick:1');
    const [first] = await cluster.untilRunning('sick', 1, 20_000);
    const address = status.hosts[0]?.address;
    expect((await ask(`http://${address}:8090/`)).version).toBe('sick');
    const failed = await until('its task has failed', 30_000, async () =>
      (await cluster.tasks('sick')).find((task) => task.ID === first?.ID && task.CurrentState.startsWith('Failed')),
    );
    expect(failed.Error).toMatch(/unhealthy|health/);
    await until('another one serves', 30_000, async () => (await ask(`http://${address}:8090/`)).version === 'sick');
    await until('events tell it', 10_000, () => /task (unhealthy|failed).*service=sick/.test(events.said()));
    expect(events.said()).toMatch(/task create .*service=sick/);
    events.signal('SIGINT');
    expect(await until('events end', 10_000, () => events.code())).toBe(130);
  } finally {
    events.signal('SIGKILL');
  }
  await cluster.must('service', 'rm', 'sick');
});

it('has the environment of its --env-file and flags, the flags winning', async () => {
  const file = join(cluster.dir, 'web.env');
  writeFileSync(file, '# the version\nVERSION=from-file\n\nOTHER=kept\n');
  const flags = ['--name', 'env', '-p', '8091:80', '--quiet', '--env-file', file];
  await cluster.must('service', 'create', ...flags, 'web:1');
  const url = `http://${status.hosts[0]?.address}:8091/`;
  expect((await ask(url)).version).toBe('from-file');
  const said = await cluster.covey('service', 'update', '--env-add', 'VERSION=from-flag', 'env');
  expect(said.code, said.err).toBe(0);
  expect((await ask(url)).version).toBe('from-flag');
  expect(await cluster.must('service', 'inspect', 'env')).toContain('OTHER=kept');
  await cluster.must('service', 'rm', 'env');
});

it('shows the last lines, since when, and with their times, of all its replicas', async () => {
  await cluster.must('service', 'create', '--name', 'lines', '--replicas', '2', '--quiet', 'lines:1');
  const tail = await until('both have written enough', 20_000, async () => {
    const out = await cluster.must('service', 'logs', '--tail', '3', 'lines');
    return out.trim().split('\n').length === 6 && out;
  });
  expect(
    new Set(
      tail
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0]?.split('.')[1]),
    ),
  ).toEqual(new Set(['1', '2']));
  expect(new Set(tail.match(/@n[12]/g))).toEqual(new Set(['@n1', '@n2']));
  const stamped = (await cluster.must('service', 'logs', '--tail', '1', '--timestamps', 'lines')).trim().split('\n');
  for (const line of stamped) expect(line).toMatch(/\| \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z line \d+$/);
  const future = await cluster.must('service', 'logs', '--since', '2100-01-01T00:00:00Z', 'lines');
  expect(future).toBe('');
  const since = stamped[0]?.match(/\| (\S+) line (\d+)/);
  const later = await cluster.must('service', 'logs', '--since', since?.[1] ?? '', '--timestamps', 'lines');
  const times = later
    .trim()
    .split('\n')
    .map((line) => /\| (\S+) /.exec(line)?.[1] ?? '');
  expect(times.every((time) => Date.parse(time) >= Date.parse(since?.[1] ?? ''))).toBe(true);
  expect(new Set(later.match(/@n[12]/g))).toEqual(new Set(['@n1', '@n2']));
  expect(times).toEqual(times.toSorted());
  expect((await cluster.covey('service', 'logs', '--tail', 'many', 'lines')).code).toBe(2);
});

it('still shows the lines of a task that is gone, until it is reaped', async () => {
  const [gone] = await cluster.running('lines');
  await cluster.must('service', 'scale', '--detach', 'lines=2');
  process.kill(Number(gone?.Pid), 'SIGKILL');
  await until('it has failed', 20_000, async () =>
    (await cluster.tasks('lines')).some((task) => task.ID === gone?.ID && task.CurrentState.startsWith('Failed')),
  );
  const out = await cluster.must('service', 'logs', '--tail', '2', 'lines');
  expect(out).toContain(`.${gone?.ID}@`);
  await cluster.must('service', 'rm', 'lines');
  await until('the service is gone', 20_000, async () => (await cluster.covey('service', 'logs', 'lines')).code === 1);
});

it('remembers what happened to services and tasks, and tells it as JSON', async () => {
  interface Event {
    readonly Type: string;
    readonly Action: string;
    readonly Actor: { readonly ID: string; readonly Attributes: { readonly name: string } };
  }
  const args = ['dist/cli/main.js', 'events', '--since', '1h', '--format', 'json'];
  const events = background(process.execPath, args, { ...process.env, COVEY_CONTEXT: status.context });
  try {
    await until('a removal is told', 20_000, () => events.said().includes('"Type":"service","Action":"remove"'));
    const told = rows<Event>(events.said().slice(0, events.said().lastIndexOf('\n')));
    const types = new Set(told.map((event) => event.Type));
    for (const type of ['service', 'task']) expect(types).toContain(type);
    for (const event of told) expect(event.Actor.ID).not.toBe('');
  } finally {
    events.signal('SIGKILL');
  }
});

it('gives up on a task that crashes after its attempts, says so and exits with 1', async () => {
  const flags = ['--name', 'crash', '--restart-max-attempts', '1', '--restart-delay', '0s', '--timeout', '30s'];
  const said = await cluster.covey('service', 'create', ...flags, 'crash:1');
  expect(said.code, said.err).toBe(1);
  expect(said.err).toMatch(/crash\.1 .*attempts are used up/);
  await until(
    'two tasks have failed',
    30_000,
    async () => (await cluster.tasks('crash')).filter((task) => task.CurrentState.startsWith('Failed')).length === 2,
  );
  await cluster.must('service', 'rm', 'crash');
});

it('gives processes what the service says of them, refuses what cannot be, and warns of what opens the host', async () => {
  const flags = ['--cap-drop', 'ALL', '--cap-add', 'net_bind_service', '--ulimit', 'nofile=100:200', '--init'];
  const more = ['--sysctl', 'net.core.somaxconn=77', '--health-cmd', '/server check', ...QUICK];
  await cluster.must('service', 'create', '--name', 'closed', ...flags, ...more, '--timeout', '60s', 'web:1');
  const inspected = await cluster.must('service', 'inspect', 'closed');
  expect(JSON.parse(inspected)[0].Spec.TaskTemplate.ContainerSpec).toMatchObject({
    CapabilityAdd: ['CAP_NET_BIND_SERVICE'],
    CapabilityDrop: ['ALL'],
    Init: true,
    Sysctls: { 'net.core.somaxconn': '77' },
    Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }],
  });
  const refused = await cluster.covey('service', 'update', '--cap-add', 'fly', 'closed');
  expect([refused.code, refused.err]).toEqual([expect.any(Number), expect.stringContaining('CAP_FLY')]);
  expect(refused.code).not.toBe(0);
  const opened = await cluster.covey('service', 'update', '--cap-drop', 'bpf', '--privileged', '--detach', 'closed');
  expect(opened.err).toMatch(/warning: --privileged/);
  // Both at once contradict each other.
  expect(opened.err).toMatch(/capDrop/);
  await cluster.must('service', 'rm', 'closed');
});

it('runs an init that reaps and hands signals on, and opens all to a privileged service, with a warning', async () => {
  await cluster.must('image', 'load', buildShellImage(cluster.dir));
  const seen = async (file: string) => (await cluster.covey('exec', 'reaped.1', 'sh', '-c', `cat ${file}`)).out;
  const orphans = 'for i in 1 2 3; do (sleep 0 &); done';
  const script = `trap 'echo told to stop; exit 0' TERM; ${orphans}; echo up; while :; do sleep 0.1; done`;
  const made = await cluster.covey('service', 'create', '--name', 'reaped', '--init', 'shell:1', 'sh', '-c', script);
  expect([made.code, made.err.includes('warning')], made.err).toEqual([0, false]);
  expect(await seen('/proc/1/status')).toMatch(/^Name:\tcovey-init\n.*\nSeccomp:\t2\n/s);
  await until('its orphans are reaped', 30_000, async () => !/\) Z /.test(await seen('/proc/[0-9]*/stat')));

  const opened = await cluster.covey('service', 'update', '--quiet', '--privileged', 'reaped');
  expect([opened.code, opened.out], opened.err).toEqual([0, 'reaped\n']);
  expect(opened.err).toMatch(/warning: --privileged gives the containers every capability/);
  await until('the stopped task has said so', 30_000, async () =>
    (await cluster.covey('service', 'logs', 'reaped')).out.includes('told to stop'),
  );
  const status = await seen('/proc/1/status');
  expect(status).toMatch(/\nSeccomp:\t0\n/);
  const bounding = /^CapBnd:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  expect(status).toContain(`CapEff:\t${bounding}\n`);
  await cluster.must('service', 'rm', 'reaped');
});
