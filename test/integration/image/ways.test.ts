/** Ways to a registry: mirrors before it, a proxy in between. The registry is Debian's, mirrors and proxy are ours. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { noLog } from '../../../common/log.ts';
import { placeOf } from '../../../common/registry/place.ts';
import { Registry } from '../../../common/registry/registry.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import { parseMirrors } from '../../../manager/images/mirrors.ts';
import { Registries } from '../../../manager/images/registries.ts';
import { archiveOf, imageOf, layer } from '../../support/image-archive.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { LOGIN, TestRegistry } from '../../support/registry.ts';

const never = new AbortController().signal;
const IMAGE = imageOf({ layers: [layer([{ path: 'server', body: 'x'.repeat(100_000) }])] });
const LAYER = (JSON.parse(IMAGE.manifest) as { layers: { digest: string }[] }).layers[0]?.digest ?? '';
/** A name that only the proxy knows. */
const FAR = 'registry.test';
/** Waits are of no interest here. */
const clock = { ...systemClock, sleep: async () => undefined };

let registry: TestRegistry;
const servers: (Server | NetServer)[] = [];
let dir: string;

beforeAll(async () => {
  registry = await TestRegistry.start({ tls: true, login: true });
  await registry.push(archiveOf(IMAGE), 'demo/web:1');
});
afterAll(() => registry?.stop());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-ways-'));
});
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await rm(dir, { recursive: true, force: true });
});

async function listening<S extends Server | NetServer>(server: S): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

describe('a mirror', () => {
  let seen: IncomingMessage[];

  beforeEach(() => {
    seen = [];
  });

  /** Its address. */
  async function mirror(answer: (path: string, response: ServerResponse) => void): Promise<string> {
    const server = createServer((request, response) => {
      seen.push(request);
      answer((request.url ?? '').replace('/v2/demo/web/', ''), response);
    });
    return `http://127.0.0.1:${await listening(server)}`;
  }

  /** As one that has the image. */
  function sound(path: string, response: ServerResponse): void {
    if (path.startsWith('manifests/')) {
      response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json').end(IMAGE.manifest);
    } else response.end(IMAGE.blobs.get(path.replace('blobs/', '')));
  }

  async function pullBy(...mirrors: readonly string[]): Promise<{ warnings: readonly string[] }> {
    const warnings: string[] = [];
    const log = Object.assign(Object.create(noLog), {
      warn: ({ why }: { why: string }) => void warnings.push(why),
    }) as typeof noLog;
    const store = new MemoryStore();
    const settings = {
      insecure: [],
      certs: join(dir, 'certs'),
      mirrors: parseMirrors(mirrors.map((each) => `${registry.host}=${each}`)),
    };
    const logins = { of: (host: string) => (host === registry.host ? LOGIN : undefined) };
    const registries = new Registries({ settings, logins, clock, log });
    const openRepository = (name: string) => registries.repository(name);
    const images = await ManagerImages.open({ dir: await mkdtemp(join(dir, 'm-')), store, clock, log, openRepository });
    const { image } = await images.pull(`${registry.host}/demo/web:1`, () => undefined, never);
    expect(image.digest).toBe(IMAGE.digest);
    for (const blob of image.blobs) expect(await images.blobs.has(blob)).toBe(true);
    return { warnings };
  }

  it('is asked in the place of the registry, and gets no login of it', async () => {
    expect((await pullBy(await mirror(sound))).warnings).toEqual([]);
    expect(seen.length).toBeGreaterThanOrEqual(3);
    expect(seen.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  it('that gives other bytes than the digest says is passed over for that blob', async () => {
    const liar = await mirror((path, response) =>
      path.endsWith(LAYER) ? void response.end('other bytes') : sound(path, response),
    );
    expect((await pullBy(liar)).warnings).toEqual([expect.stringMatching(/^blob sha256:\w+ was cut off/)]);
    const well = IMAGE.blobs.get(LAYER) ?? Buffer.alloc(0);
    const forger = await mirror((path, response) =>
      path.endsWith(LAYER) ? void response.end(Buffer.alloc(well.length)) : sound(path, response),
    );
    expect((await pullBy(forger)).warnings).toEqual([expect.stringMatching(/^blob sha256:\w+ is corrupt/)]);
  });

  it('that breaks off is passed over, and what came of it is kept', async () => {
    const ranges: (string | undefined)[] = [];
    const weak = await mirror((path, response) => {
      if (!path.endsWith(LAYER)) return sound(path, response);
      ranges.push(seen.at(-1)?.headers.range);
      response.writeHead(200, { 'content-length': IMAGE.blobs.get(LAYER)?.length ?? 0 });
      return void response.write('', () => response.destroy());
    });
    await pullBy(weak);
    expect(ranges).toEqual([undefined]);
  });

  it.each<[string, (path: string, response: ServerResponse) => void, RegExp]>([
    [
      '401',
      (_, response) => void response.writeHead(401, { 'www-authenticate': 'Basic realm="m"' }).end(),
      /asks for a login/,
    ],
    ['404', (_, response) => void response.writeHead(404).end(), /has no manifest/],
    ['502', (_, response) => void response.writeHead(502).end(), /answers 502/],
    ['a web page', (_, response) => void response.setHeader('content-type', 'text/html').end('<p>'), /web page/],
  ])('that answers %s is passed over, once and for all of the image', async (_, answer, why) => {
    const next = await mirror(sound);
    const { warnings } = await pullBy(await mirror(answer), next);
    expect(warnings).toEqual([expect.stringMatching(why)]);
  });

  it('that is not there costs a moment', async () => {
    expect((await pullBy('http://127.0.0.1:9')).warnings).toEqual([expect.stringContaining('cannot be reached')]);
  });
});

describe('a proxy', () => {
  let connected: string[];

  beforeEach(async () => {
    connected = [];
    const server = createServer((_, response) => void response.writeHead(405).end());
    server.on('connect', (request: IncomingMessage, near: Socket) => {
      connected.push(request.url ?? '');
      const far = connect(registry.port, '127.0.0.1', () => {
        near.write('HTTP/1.1 200 OK\r\n\r\n');
        near.pipe(far).pipe(near);
      });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const)
        one.on('error', () => undefined).on('close', () => other.destroy());
    });
    process.env.HTTPS_PROXY = `http://127.0.0.1:${await listening(server)}`;
  });
  afterEach(() => {
    delete process.env.HTTPS_PROXY;
    delete process.env.NO_PROXY;
  });

  async function manifest(): Promise<string> {
    const place = placeOf(`${FAR}/demo/web`);
    const reader = new Registry({ place, clock, login: LOGIN, ca: await registry.ca() });
    try {
      return (await reader.manifest('1', never)).digest;
    } finally {
      await reader.close();
    }
  }

  it('is gone through by TLS from end to end, without a word of ours to whoever watches standard error', async () => {
    const warned: string[] = [];
    const onWarning = ({ message }: Error): void => void warned.push(message);
    process.on('warning', onWarning);
    expect(await manifest()).toBe(IMAGE.digest);
    process.off('warning', onWarning);
    expect(new Set(connected)).toEqual(new Set([`${FAR}:443`]));
    expect(warned).toEqual([]);
  });

  it('is left out for what NO_PROXY names', async () => {
    process.env.NO_PROXY = FAR;
    await expect(manifest()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining(FAR) });
    expect(connected).toEqual([]);
  });
});
