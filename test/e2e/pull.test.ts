/** From a registry to a service that answers. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readLayout } from '../../deploy/dev/door.ts';
import { buildDemoImages } from '../../deploy/dev/images.ts';
import { DevCluster } from '../support/dev-cluster.ts';
import { ask } from '../support/load.ts';
import { TestRegistry } from '../support/registry.ts';

let cluster: DevCluster;
let registry: TestRegistry;

beforeAll(async () => {
  cluster = await DevCluster.up('--hosts', '2');
  const netns = readLayout(cluster.dir).hosts.find(({ kind }) => kind === 'manager')?.netns ?? '';
  registry = await TestRegistry.start({ netns });
});
afterAll(async () => {
  await cluster?.clean();
  await registry?.stop();
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

it('says what a registry does not have, and that nobody answers, with exit code 1', async () => {
  const none = await cluster.covey('image', 'pull', `${registry.host}/demo/none:1`);
  expect(none).toMatchObject({ code: 1, err: expect.stringContaining('has no manifest "1"') });
  const gone = await cluster.covey('image', 'pull', '127.0.0.1:9/demo/web:1');
  expect(gone).toMatchObject({ code: 1, err: expect.stringContaining('registry 127.0.0.1:9 cannot be reached') });
  const create = await cluster.covey('service', 'create', 'never/pulled:1');
  expect(create).toMatchObject({ code: 1, err: expect.stringContaining('covey image pull never/pulled:1') });
});
