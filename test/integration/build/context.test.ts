/** Contexts that come as tars, with their Dockerfile in them. */

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { BuilderEvent, BuildWish } from '../../../agent/build/builder.ts';
import type { ContextInput } from '../../../agent/build/context-input.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { BuildWorld } from '../../support/build-world.ts';
import { forever } from '../../support/native-world.ts';
import { streamOf, type TarPart, tarOf } from '../../support/tar.ts';

let world: BuildWorld;
beforeAll(async () => {
  world = await BuildWorld.open();
});
afterAll(() => world.destroy());

async function built(wish: Partial<BuildWish>, input: ContextInput): Promise<Digest> {
  const whole: BuildWish = {
    names: ['context:1'],
    dockerfile: { name: 'Dockerfile' },
    args: {},
    labels: {},
    secrets: new Map(),
    usesCache: true,
    pulls: false,
    network: 'none',
    allowsHostNetwork: false,
    ...wish,
  };
  let last: BuilderEvent | { readonly kind: 'nothing' } = { kind: 'nothing' };
  for await (const event of world.builder.build(whole, input, forever)) last = event;
  if (last.kind !== 'built') throw new Error(`the build ended with ${last.kind}`);
  return last.digest;
}

function tarInput(bytes: Buffer): ContextInput {
  return { kind: 'tar', chunks: streamOf(bytes) };
}

const PARTS: readonly TarPart[] = [
  { path: 'Dockerfile', body: 'FROM scratch\nCOPY . /\n' },
  { path: 'sub/other.Dockerfile', body: 'FROM scratch\nCOPY sub /\n' },
  { path: '.dockerignore', body: 'left-out\n**/*.log\n!sub/kept.log\n' },
  { path: 'left-out/in', body: 'x' },
  { path: 'sub/a.log', body: 'x' },
  { path: 'sub/kept.log', body: 'x' },
];

it('reads the Dockerfile from a tar, packed or not, and leaves out what its ignore file says', async () => {
  for (const tar of [tarOf(PARTS), gzipSync(tarOf(PARTS))]) {
    const tree = await world.tree(await built({}, tarInput(tar)));
    expect(readdirSync(tree).toSorted()).toEqual(['.dockerignore', 'Dockerfile', 'sub']);
    expect(readdirSync(`${tree}/sub`).toSorted()).toEqual(['kept.log', 'other.Dockerfile']);
  }
  const other = await built({ dockerfile: { name: 'sub/other.Dockerfile' } }, tarInput(tarOf(PARTS)));
  expect(readdirSync(await world.tree(other)).toSorted()).toEqual(['kept.log', 'other.Dockerfile']);
});

it('refuses tars that are broken, that lead out, or have no Dockerfile', async () => {
  const refused = (parts: readonly TarPart[] | Buffer, message: string): Promise<void> =>
    expect(built({}, tarInput(Buffer.isBuffer(parts) ? parts : tarOf(parts))), message).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining(message),
    });
  await refused([{ path: 'other', body: 'x' }], 'Dockerfile is not in the build context');
  await refused([{ path: '../Dockerfile', body: 'x' }], 'leaves the root by ".."');
  await refused([{ path: 'Dockerfile', type: '2', link: '/etc/passwd' }], 'Dockerfile is not in the build context');
  await refused(Buffer.from('this is no tar'.repeat(100)), 'the build context');
  expect(await world.leftovers()).toEqual([]);
});

it('fetches contexts and added files by URL, and proves what a checksum says', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/context.tgz') response.end(gzipSync(tarOf([...PARTS, { path: 'x', body: 'x' }])));
    else if (request.url === '/file.txt')
      response.writeHead(200, { 'last-modified': 'Sat, 01 Jan 2000 00:00:00 GMT' }).end('fetched');
    else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    expect(readdirSync(await world.tree(await built({}, { kind: 'url', url: `${at}/context.tgz` })))).toContain('x');
    const sum = 'sha256:ffa6706ff2127a749973072756f83c532e43ed02ca5b9e1dc3c2f4d8a9c9a3a6';
    const wrong = world.build(`FROM scratch\nADD --checksum=${sum} ${at}/file.txt /f\n`);
    await expect(wrong).rejects.toMatchObject({ code: 'invalid', field: 'checksum' });
    const { digest } = await world.build(`FROM scratch\nADD ${at}/file.txt /into/\n`);
    expect(readdirSync(`${await world.tree(digest)}/into`)).toEqual(['file.txt']);
    await expect(world.build(`FROM scratch\nADD ${at}/none /f\n`)).rejects.toMatchObject({
      message: `${at}/none cannot be fetched: the server answers 404`,
    });
  } finally {
    server.close();
  }
  await expect(world.build(`FROM scratch\nADD ${at}/file.txt /g\n`)).rejects.toMatchObject({ code: 'unavailable' });
});
