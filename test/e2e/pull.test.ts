/** From a registry to a service that answers. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readLayout } from '../../deploy/dev/door.ts';
import { buildDemoImages } from '../../deploy/dev/images.ts';
import { DevCluster } from '../support/dev-cluster.ts';
import { byBuildah, byUmoci } from '../support/foreign-images.ts';
import { heavier } from '../support/heavy-image.ts';
import { ask, startLoad } from '../support/load.ts';
import { LOGIN, TestRegistry } from '../support/registry.ts';
import { until } from '../support/until.ts';

let cluster: DevCluster;
let registry: TestRegistry;
/** With TLS and a login. */
let closed: TestRegistry;

const MIB = 2 ** 20;

beforeAll(async () => {
  // The hosts' lines are slow, in this file.
  process.env.COVEY_AGENT_MESH_DOWNLOAD_RATE = String(2 * MIB);
  cluster = await DevCluster.up('--hosts', '2');
  const netns = readLayout(cluster.dir).hosts.find(({ kind }) => kind === 'manager')?.netns ?? '';
  [registry, closed] = await Promise.all([
    TestRegistry.start({ netns }),
    TestRegistry.start({ netns, tls: true, login: true }),
  ]);
});
afterAll(async () => {
  await cluster?.clean();
  await Promise.all([registry?.stop(), closed?.stop()]);
});

it('brings an image into the cluster, tells how, and runs it on every host', async () => {
  const demo = await buildDemoImages(join(cluster.dir, 'images'));
  const { path = '' } = demo.find(({ reference }) => reference === 'web:2') ?? {};
  const { Digest: digest } = await registry.push(readFileSync(path), 'demo/web:new');
  const name = `${registry.host}/demo/web:new`;
  const said = await cluster.must('image', 'pull', name);
  expect(said).toMatch(/^[0-9a-f]{12}: (Pull complete|Already exists)$/m);
  expect(said).toContain(`Digest: ${digest}\nStatus: Downloaded newer image for ${name}\n${name}\n`);
  expect(await cluster.must('image', 'pull', '-q', name)).toBe(`${name}\n`);
  expect(await cluster.must('image', 'ls')).toContain(`${registry.host}/demo/web`);
  await cluster.must('image', 'tag', name, 'mine:1');
  const [shown] = JSON.parse(await cluster.must('image', 'inspect', 'mine:1'));
  expect(shown).toMatchObject({
    Id: digest,
    Os: 'linux',
    RepoDigests: [`mine@${digest}`],
    Config: { Env: expect.anything() },
  });
  expect(shown.RepoTags).toEqual(expect.arrayContaining(['mine:1', name, 'web:2']));
  expect(await cluster.must('image', 'history', '-q', 'mine:1')).toBe(`${digest.slice(7, 19)}\n`);
  const flags = ['--replicas', '2', '--replicas-max-per-node', '1', '-p', '8090:80', '--quiet'];
  await cluster.must('service', 'create', '--name', 'pulled', ...flags, `${name}@${digest}`);
  const host = (await cluster.status()).hosts.find((each) => each.name === 'n2');
  expect((await ask(`http://${host?.address}:8090/`)).version).toBe('2');
});

it('places an image on every node before a task needs it, and says which node has not got it', async () => {
  const said = await cluster.must('image', 'push', '--to-cluster', 'web:1');
  expect(said).toMatch(/^n1: (Placed|Already exists)$/m);
  expect(said).toMatch(/^n2: (Placed|Already exists)$/m);
  expect(said).toContain('web:1: on 2 of 2 nodes\n');
  expect(await cluster.must('image', 'push', '--to-cluster', '--node', 'n2', 'web:1')).toContain(
    'n2: Already exists\n',
  );
  const none = await cluster.covey('image', 'push', '--to-cluster', '--node', 'n1', '--node', 'none', 'web:1');
  expect(none).toMatchObject({ code: 1, out: expect.stringContaining('web:1: on 1 of 2 nodes') });
  expect(none.err).toContain('covey: none: ');
});

it('says what a registry does not have, and that nobody answers, with exit code 1', async () => {
  const none = await cluster.covey('image', 'pull', `${registry.host}/demo/none:1`);
  expect(none).toMatchObject({ code: 1, err: expect.stringContaining('has no manifest "1"') });
  const gone = await cluster.covey('image', 'pull', '127.0.0.1:9/demo/web:1');
  expect(gone).toMatchObject({ code: 1, err: expect.stringContaining('registry 127.0.0.1:9 cannot be reached') });
  const never = await cluster.covey('service', 'create', '--no-resolve-image', 'never/pulled:1');
  expect(never).toMatchObject({ code: 1, err: expect.stringContaining('covey image pull never/pulled:1') });
  const create = await cluster.covey('service', 'create', '--name', 'none', `${registry.host}/demo/none:1`);
  expect(create).toMatchObject({ code: 1, out: '', err: expect.stringContaining('has no manifest "1"') });
});

it('pushes and pulls all tags of a name', async () => {
  const name = `${registry.host}/demo/all`;
  for (const [from, tag] of [
    ['web:1', 'one'],
    ['web:2', 'two'],
  ] as const)
    await cluster.must('image', 'tag', from, `${name}:${tag}`);
  const pushed = await cluster.must('image', 'push', '--all-tags', name);
  expect(pushed).toMatch(
    /^The push refers to repository .*\n[\s\S]*\none: digest: sha256:.*\n[\s\S]*\ntwo: digest: sha256:.*\n$/,
  );
  await cluster.must('image', 'rm', `${name}:one`, `${name}:two`);
  expect(await cluster.covey('image', 'push', '-a', name)).toMatchObject({
    code: 1,
    err: expect.stringContaining(`An image does not exist locally with the tag: ${name}`),
  });
  const pulled = await cluster.must('image', 'pull', '-a', name);
  expect(pulled).toContain(`Status: Downloaded newer image for ${name}:one\n`);
  expect(pulled).toContain(`Status: Downloaded newer image for ${name}:two\n`);
  expect(pulled.endsWith(`${name}\n`)).toBe(true);
  const refused = await cluster.covey('image', 'pull', '-a', `${name}:one`);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("tag can't be used with --all-tags/-a") });
});

it('logs in, for pulls, pushes and services, and out again', async () => {
  const demo = await buildDemoImages(join(cluster.dir, 'images'));
  const { path = '' } = demo.find(({ reference }) => reference === 'deaf:1') ?? {};
  const { Digest: digest } = await closed.push(readFileSync(path), 'private/deaf:1');
  const name = `${closed.host}/private/deaf:1`;
  const refused = await cluster.covey('image', 'pull', name);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining(`log in first: covey login ${closed.host}`) });

  const { username, password } = LOGIN;
  const wrong = await cluster.covey('login', '-u', username, '-p', 'wrong', closed.host);
  expect(wrong).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/^WARNING! Using --password.*\n.*refuses the login of "ada"/),
  });
  const piped = await cluster.coveyWith(
    `${password}\n`,
    'login',
    '-u',
    username,
    '--password-stdin',
    `https://${closed.host}/v2/`,
  );
  expect(piped).toEqual({ code: 0, out: 'Login Succeeded\n', err: '' });
  expect(await cluster.must('cluster', 'info')).toContain(`Logins:\n  ${closed.host} as ${username}\n`);

  const flags = ['--name', 'private', '--detach'];
  const made = await cluster.covey('service', 'create', ...flags, name);
  expect(made).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^[0-9a-z]{25}\n$/),
    err: expect.stringMatching(/^pulling image /),
  });
  await cluster.untilRunning('private', 1, 30_000);

  await cluster.must('image', 'tag', name, `${closed.host}/private/mine:2`);
  const pushed = await cluster.must('image', 'push', `${closed.host}/private/mine:2`);
  expect(pushed).toMatch(
    new RegExp(
      `^The push refers to repository \\[${closed.host}/private/mine\\]\n([0-9a-f]{12}: Mounted from private/deaf\n){2}2: digest: ${digest} size: \\d+\n$`,
    ),
  );
  expect((await closed.inspect('private/mine:2')).Digest).toBe(digest);

  const before = await cluster.tasks('private');
  await cluster.must('service', 'update', '--image', `${closed.host}/private/mine:2`, '--detach', 'private');
  expect(await cluster.tasks('private')).toMatchObject(before.map(({ ID, CurrentState: _ }) => ({ ID })));

  expect(await cluster.must('logout', closed.host)).toBe(`Removing login credentials for ${closed.host}\n`);
  expect(await cluster.must('logout', closed.host)).toBe(`Not logged in to ${closed.host}\n`);
  expect((await cluster.covey('image', 'push', name)).err).toContain('log in first');
  const update = await cluster.covey('service', 'update', '--image', name, '--detach', 'private');
  expect(update).toMatchObject({
    code: 0,
    err: expect.stringContaining('could not be accessed on a registry to record its digest'),
  });
});

it('asks for user name and password on a terminal, and shows the password to nobody', async () => {
  const screen = cluster.onTerminal(24, 200, 'login', closed.host);
  await screen.sees('Username: ');
  screen.type(`${LOGIN.username}\r`);
  await screen.sees('Password: ');
  screen.type(`${LOGIN.password}\r`);
  await screen.sees('Login Succeeded');
  expect(screen.shown).not.toContain(LOGIN.password);
  await cluster.must('logout', closed.host);
  const blind = await cluster.covey('login', closed.host);
  expect(blind).toMatchObject({ code: 2, err: expect.stringContaining('from a non TTY device') });
});

it.each([
  ['umoci', byUmoci],
  ['buildah', byBuildah],
])('runs an image made by %s', async (maker, make) => {
  const folder = mkdtempSync(join(cluster.dir, 'made-'));
  const name = `${registry.host}/made/${maker}:1`;
  const { Digest: digest } = await registry.copyIn(await make(folder), `made/${maker}:1`);
  await cluster.must('service', 'create', '--name', maker, '--detach', name);
  expect(await cluster.must('image', 'inspect', name)).toContain(digest);
  await cluster.untilRunning(maker, 1, 30_000);
  expect(await cluster.must('service', 'logs', maker)).toContain(`made by ${maker}`);
});

/** Whether all of an image is on a host, unpacked. */
async function isOn(host: string, digest: string): Promise<boolean> {
  const { stateDir } = (await cluster.status()).hosts.find(({ name }) => name === host) ?? expect.fail(host);
  return existsSync(join(stateDir, 'images', 'images', `${digest.slice('sha256:'.length)}.json`));
}

async function loadHeavy(reference: string, version: '1' | '2'): Promise<string> {
  const demo = await buildDemoImages(join(cluster.dir, 'images'));
  const { path: from = '' } = demo.find((each) => each.reference === `web:${version}`) ?? {};
  const { path, image } = heavier(from, { reference, bytes: 5 * MIB, folder: cluster.dir });
  await cluster.must('image', 'load', path);
  return image.digest;
}

/** Names of those that are replaced are set off. */
const slotOf = ({ Name }: { readonly Name: string }): string => Name.replace(/^ \\_ /, '');

it('stops no task for an update before the new image has arrived on its node, however slow the line is', async () => {
  const flags = ['--replicas', '2', '-p', '8091:80', '--update-order', 'stop-first'];
  await cluster.must('service', 'create', '--name', 'slow', ...flags, '--update-monitor', '1s', '--detach', 'web:1');
  await cluster.untilRunning('slow', 2, 30_000);
  const digest = await loadHeavy('heavy:2', '2');
  const [host] = (await cluster.status()).hosts;
  const load = startLoad({ url: `http://${host?.address}:8091/?ms=20`, connections: 8, keepAlive: false });
  try {
    let isOver = false;
    const said = cluster.covey('service', 'update', '--image', 'heavy:2', 'slow').finally(() => {
      isOver = true;
    });
    let waited = 0;
    while (!isOver) {
      const [running, tasks] = [await cluster.running('slow'), await cluster.tasks('slow')];
      const old = running.filter(({ Image }) => Image === 'web:1').map(slotOf);
      if (old.length === 2 && tasks.some(({ Image }) => Image === 'heavy:2')) waited += 1;
      for (const slot of ['slow.1', 'slow.2']) {
        if (old.includes(slot)) continue;
        const next = tasks.find((task) => slotOf(task) === slot && task.Image === 'heavy:2');
        expect(await isOn(next?.Node ?? '', digest), `${slot} has been stopped`).toBe(true);
      }
    }
    expect(await said).toMatchObject({ code: 0 });
    // Else the line was not slow.
    expect(waited).toBeGreaterThan(0);
  } finally {
    await load.stop();
  }
  const result = await load.stop();
  expect(result.failures).toEqual([]);
  expect(result.versions.get('1')).toBeGreaterThan(0);
  expect(result.versions.get('2')).toBeGreaterThan(0);
});

it('runs a lost host’s replica where its image has never been, with the registry down', async () => {
  const demo = await buildDemoImages(join(cluster.dir, 'images'));
  const { path: from = '' } = demo.find((each) => each.reference === 'web:1') ?? {};
  const { path, image } = heavier(from, { reference: 'night:1', bytes: MIB, folder: cluster.dir });
  await registry.push(readFileSync(path), 'night:1');
  const name = `${registry.host}/night:1`;
  const flags = ['-p', '8092:80', '--failover-after', '3s', '--detach'];
  await cluster.must('service', 'create', '--name', 'night', ...flags, name);
  const [{ Node: lost } = expect.fail('no task')] = await cluster.untilRunning('night', 1, 30_000);
  const other = lost === 'n1' ? 'n2' : 'n1';
  expect([await isOn(lost, image.digest), await isOn(other, image.digest)]).toEqual([true, false]);
  await Promise.all([registry.stop(), closed.stop()]);
  expect(await cluster.covey('image', 'pull', name)).toMatchObject({ code: 1 });
  await cluster.door('fail', lost, 'host');
  await until('it runs on the other host', 30_000, async () =>
    (await cluster.running('night')).some(({ Node }) => Node === other),
  );
  const host = (await cluster.status()).hosts.find((each) => each.name === other);
  expect((await ask(`http://${host?.address}:8092/`)).version).toBe('1');
});
