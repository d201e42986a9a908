/** All tags of a name: of a real registry, Debian's docker-registry, and of servers that give them page by page. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { noLog } from '../../../common/log.ts';
import { placeOf } from '../../../common/registry/place.ts';
import { Registry } from '../../../common/registry/registry.ts';
import { Registries } from '../../../manager/images/registries.ts';
import { archiveOf, imageOf, layer } from '../../support/image-archive.ts';
import { TestRegistry } from '../../support/registry.ts';

const never = new AbortController().signal;
const clock = { ...systemClock, sleep: async () => undefined };
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

it('of a name are those that its registry has', async () => {
  const registry = await TestRegistry.start();
  closers.push(() => registry.stop());
  const archive = archiveOf(imageOf({ layers: [layer([{ path: 'f', body: 'x' }])] }));
  for (const tag of ['2', '1', 'latest']) await registry.push(archive, `demo/web:${tag}`);
  const settings = { insecure: [], certs: '/nowhere', mirrors: new Map() };
  const registries = new Registries({ settings, logins: { of: () => undefined }, clock, log: noLog });
  const name = `${registry.host}/demo/web`;
  const found = await registries.references(name, never);
  expect(found.toSorted()).toEqual([`${name}:1`, `${name}:2`, `${name}:latest`]);
  await expect(registries.references(`${registry.host}/demo/none`, never)).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('has no list of tags of'),
  });
});

describe('a list of tags', () => {
  const asked: string[] = [];

  async function tags(
    answer: (request: IncomingMessage, response: ServerResponse) => void,
  ): Promise<readonly string[]> {
    asked.length = 0;
    const server = createServer((request, response) => {
      if (request.url !== '/v2/') asked.push(request.url ?? '');
      if (request.url === '/v2/') response.end();
      else answer(request, response);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const registry = new Registry({ place: placeOf(`127.0.0.1:${port}/web`), clock, tries: 2 });
    closers.push(async () => {
      await registry.close();
      server.closeAllConnections();
      server.close();
    });
    return await registry.tags(never);
  }

  it('is read to its last page, at the same registry wherever a page points to', async () => {
    const pages: Record<string, object> = {
      '/v2/web/tags/list?n=1000': { tags: ['a', 'b'] },
      '/v2/web/tags/list?last=b&n=2': { tags: ['c'] },
    };
    const found = await tags((request, response) => {
      const isFirst = request.url === '/v2/web/tags/list?n=1000';
      const next = '<http://192.0.2.1/v2/other/tags/list?last=b&n=2>; rel="next"';
      response.writeHead(200, isFirst ? { link: next } : {}).end(JSON.stringify(pages[request.url ?? '']));
    });
    expect(found).toEqual(['a', 'b', 'c']);
    expect(asked).toEqual(Object.keys(pages));
  });

  it('may be empty', async () => {
    expect(await tags((_, response) => response.end('{"name":"web","tags":null}'))).toEqual([]);
  });

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => void, object]>([
    [
      'has no end',
      (_, response) => response.writeHead(200, { link: '</v2/web/tags/list?n=1000>; rel=next' }).end('{"tags":["a"]}'),
      { code: 'invalid', message: expect.stringContaining('without an end') },
    ],
    [
      'is no list',
      (_, response) => response.end('{"tags":"a"}'),
      { code: 'invalid', message: expect.stringContaining('tags is not a list') },
    ],
    ['is a web page', (_, response) => response.end('<html>'), { code: 'invalid' }],
    ['is not given', (_, response) => response.writeHead(500).end(), { code: 'unavailable' }],
  ])('that %s is refused', async (_, answer, error) => {
    await expect(tags(answer)).rejects.toMatchObject(error);
  });
});
