/** Registries that misbehave: each is a server of ours on loopback. What the caller learns, and what is asked how often. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { BlobStore } from '../../../common/oci/blob-store.ts';
import { placeOf } from '../../../common/registry/place.ts';
import { Registry } from '../../../common/registry/registry.ts';
import { ImagePuller, type Repository } from '../../../manager/images/pull.ts';
import { type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { LOGIN } from '../../support/registry.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const never = new AbortController().signal;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const STALL_MS = 300;
const MIB = 2 ** 20;
const IMAGE = imageOf({ layers: [layer([{ path: 'server', body: Buffer.alloc(300_000, 'abcdefg') }])] });
const LAYER = (JSON.parse(IMAGE.manifest) as { layers: { digest: Digest }[] }).layers[0]?.digest as Digest;
/** Waits are of no interest here. */
const clock = { ...systemClock, sleep: async () => undefined };

let server: Server;
let asked: string[];
let answer: Answer;
let registry: Registry;
let dir: string;
let blobs: BlobStore;

beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    asked.push(`${request.headers.range ?? ''}${request.url}`.replace('/v2/web/', ''));
    if (request.url === '/v2/') response.end();
    else answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  registry = at();
  dir = await mkdtemp(join(tmpdir(), 'covey-faults-'));
  blobs = await BlobStore.open(dir);
});
afterEach(async () => {
  await registry.close();
  server.closeAllConnections();
  server.close();
  await rm(dir, { recursive: true, force: true });
});

function port(): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : expect.fail('no port');
}

const at = (more: object = {}): Registry =>
  new Registry({ place: placeOf(`127.0.0.1:${port()}/web`), clock, stallMs: STALL_MS, tries: 3, ...more });

const askedFor = (what: string): number => asked.filter((each) => each.endsWith(what)).length;
const manifest = () => registry.manifest('1', never);

function pull(): Promise<unknown> {
  const rest = { name: 'image "web:1"', wanted: '1', pin: () => undefined };
  return new ImagePuller(blobs, clock).pull({ ...rest, repository: registry, onProgress: () => undefined }, never);
}

/** A sound registry with one image. */
function sound(image: BuiltImage = IMAGE): Answer {
  return (request, response) => {
    if (request.url === '/v2/web/manifests/1') {
      response.setHeader('content-type', MANIFEST).end(image.manifest);
      return;
    }
    const blob = image.blobs.get(request.url?.replace('/v2/web/blobs/', '') ?? '');
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (from > 0)
      response.writeHead(206, { 'content-range': `bytes ${from}-${(blob?.length ?? 0) - 1}/${blob?.length}` });
    response.end(blob?.subarray(from));
  };
}

/** The first so many answers to what ends in `path` are spoilt. */
function spoilt(path: string, times: number, spoil: (response: ServerResponse, bytes: Buffer) => void): Answer {
  const well = sound();
  let left = times;
  return (request, response) => {
    if (request.url?.endsWith(path) !== true || left === 0) return well(request, response);
    left -= 1;
    spoil(response, IMAGE.blobs.get(LAYER) ?? expect.fail('no layer'));
  };
}

describe('an answer', () => {
  it.each<[string, Answer, object, number]>([
    [
      'a web page',
      (_, response) => response.setHeader('content-type', 'text/html; charset=utf-8').end('<html>'),
      { code: 'invalid', message: expect.stringContaining('answers with a web page') },
      1,
    ],
    [
      'no JSON',
      (_, response) => response.end('hello'),
      { code: 'invalid', message: expect.stringContaining('is not JSON') },
      1,
    ],
    [
      'more than a manifest can be',
      (_, response) => response.end(Buffer.alloc(5 << 20, ' ')),
      { code: 'invalid', message: expect.stringContaining('more than 4 MiB') },
      1,
    ],
    ['403', (_, response) => response.writeHead(403).end(), { code: 'denied' }, 1],
    ['404', (_, response) => response.writeHead(404).end(), { code: 'not_found' }, 1],
    ['418', (_, response) => response.writeHead(418).end(), { code: 'invalid' }, 1],
    [
      '429 for ever',
      (_, response) => response.writeHead(429, { 'retry-after': '7' }).end(),
      { code: 'exhausted', message: expect.stringContaining('asked too often') },
      3,
    ],
    ['500 for ever', (_, response) => response.writeHead(500).end(), { code: 'unavailable' }, 3],
    [
      'nothing',
      () => undefined,
      { code: 'unavailable', message: expect.stringContaining(`was silent for ${STALL_MS / 1_000} s`) },
      3,
    ],
    ['an end', (request) => request.socket.destroy(), { code: 'unavailable' }, 3],
  ])('of %s is told, and asked for again where time helps', async (_, given, error, times) => {
    answer = given;
    await expect(manifest()).rejects.toMatchObject(error);
    expect(askedFor('manifests/1')).toBe(times);
  });

  it('of 503 and 429 is forgiven once a sound one follows', async () => {
    const statuses = [503, 429];
    answer = (request, response) => {
      const status = statuses.shift();
      return status === undefined ? sound()(request, response) : response.writeHead(status).end();
    };
    expect((await manifest()).digest).toBe(IMAGE.digest);
  });

  it('other than its digest says is refused', async () => {
    answer = (_, response) => response.setHeader('content-type', MANIFEST).end(IMAGE.manifest);
    const wanted = `sha256:${'1'.repeat(64)}`;
    await expect(registry.manifest(wanted, never)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('is corrupt'),
    });
  });
});

it('of nobody is told at once: a port that refuses is not asked again', async () => {
  const waits: number[] = [];
  const away = at({ clock: { ...clock, sleep: async (ms: number) => void waits.push(ms) } });
  server.close();
  await expect(away.manifest('1', never)).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('cannot be reached'),
    hint: 'is its address right, and does it run?',
  });
  await away.close();
  expect(waits).toEqual([]);
});

describe('a redirect', () => {
  it('is followed, and takes no login to another host', async () => {
    const seen: (string | undefined)[] = [];
    const store = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.setHeader('content-type', MANIFEST).end(IMAGE.manifest);
    }).listen(0, '127.0.0.1');
    await once(store, 'listening');
    const { port: there } = store.address() as { port: number };
    answer = (request, response) => {
      if (request.headers.authorization === undefined)
        return response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return response.writeHead(307, { location: `http://127.0.0.1:${there}/elsewhere` }).end();
    };
    const own = at({ login: LOGIN });
    try {
      expect((await own.manifest('1', never)).digest).toBe(IMAGE.digest);
      expect(seen).toEqual([undefined]);
    } finally {
      await own.close();
      store.closeAllConnections();
      store.close();
    }
  });

  it.each([
    ['in a loop', '/v2/web/manifests/1', 'redirects more than 5 times'],
    ['to nowhere', '', 'redirects to nowhere'],
    ['to what is no web address', 'file:///etc/passwd', 'redirects to'],
  ])('%s is refused', async (_, location, why) => {
    answer = (__, response) => response.writeHead(302, location === '' ? {} : { location }).end();
    await expect(manifest()).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining(why) });
  });
});

describe('a login', () => {
  it('that is asked for again and again ends in a refusal', async () => {
    answer = (_, response) => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    const own = at({ login: LOGIN });
    await expect(own.manifest('1', never)).rejects.toMatchObject({ code: 'denied' });
    await own.close();
    expect(askedFor('manifests/1')).toBe(2);
  });

  it('by a token is asked for once, anonymously or by password, and renewed when it has expired', async () => {
    let now = 0;
    let given = 0;
    const tokens: (string | undefined)[] = [];
    answer = (request, response) => {
      if (request.url?.startsWith('/token') === true) {
        tokens.push(`${request.headers.authorization ?? 'anonymous'} ${request.url}`);
        given += 1;
        return response.end(JSON.stringify({ access_token: `t${given}`, expires_in: 60 }));
      }
      if (request.headers.authorization === `Bearer t${given}`) return sound()(request, response);
      const challenge = `Bearer realm="http://127.0.0.1:${port()}/token",service="s"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    };
    const own = at({ clock: { ...clock, now: () => now } });
    for (const at of [0, 1_000, 100_000]) {
      now = at;
      await own.manifest('1', never);
    }
    await own.close();
    expect(tokens).toEqual(Array(2).fill('anonymous /token?service=s&scope=repository%3Aweb%3Apull'));
    const known = at({ login: LOGIN });
    await known.manifest('1', never);
    await known.close();
    expect(tokens[2]).toMatch(/^Basic /);
  });

  it.each([
    ['nothing that is known', 'Negotiate', 'in a way that is not understood'],
    ['a token of no web address', 'Bearer realm="nowhere"', 'names the token server "nowhere"'],
  ])('by %s is refused', async (_, challenge, why) => {
    answer = (__, response) => response.writeHead(401, { 'www-authenticate': challenge }).end();
    await expect(manifest()).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining(why) });
  });
});

describe('a blob', () => {
  it('that breaks off is gone on with, not begun again', async () => {
    answer = spoilt(LAYER, 2, (response, bytes) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 200), () => response.destroy());
    });
    await pull();
    const ranges = asked.filter((each) => each.endsWith(LAYER)).map((each) => each.replace(/blobs.*/, ''));
    expect(ranges[0]).toBe('');
    expect(ranges.slice(1).every((range) => range === 'bytes=200-')).toBe(true);
  });

  it('that an earlier process has a part of is asked for from there on: every byte is served once', async () => {
    const big = imageOf({ layers: [layer([{ path: 'big', body: randomBytes(3 * MIB) }])] });
    const [[digest, bytes] = expect.fail('no layer')] = big.blobs;
    const part = join(blobs.incoming, `${digest.slice('sha256:'.length)}.part`);
    const well = sound(big);
    answer = (request, response) => {
      if (request.url?.endsWith(digest) !== true) return well(request, response);
      response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 2 * MIB));
    };
    const stop = new AbortController();
    const first = new ImagePuller(blobs, clock);
    const patient = at({ stallMs: 60_000 });
    const rest = { name: 'image "web:1"', wanted: '1', pin: () => undefined, onProgress: () => undefined };
    const pulled = first.pull({ ...rest, repository: patient }, stop.signal);
    const outcome = expect(pulled).rejects.toThrow('killed');
    const size = (): number => statSync(part, { throwIfNoEntry: false })?.size ?? 0;
    await expect.poll(size).toBeGreaterThan(0);
    stop.abort(new Error('killed'));
    await outcome;
    await first.settled();
    await patient.close();
    const here = size();
    expect(here).toBeLessThanOrEqual(2 * MIB);
    asked = [];
    answer = well;
    let came = 0;
    const counting: Repository = {
      manifest: (reference, signal) => registry.manifest(reference, signal),
      async *blob(wanted, offset, signal) {
        for await (const piece of registry.blob(wanted, offset, signal)) {
          came += piece.length;
          yield piece;
        }
      },
    };
    const again = await BlobStore.open(dir);
    await new ImagePuller(again, clock).pull({ ...rest, repository: counting }, never);
    expect(asked).toEqual(['manifests/1', `bytes=${here}-blobs/${digest}`]);
    expect(here + came).toBe(bytes.length);
    expect(await again.has(digest as Digest)).toBe(true);
  });

  it('is taken from a registry that takes no notice of ranges', async () => {
    let times = 0;
    const well = sound();
    answer = (request, response) => {
      if (request.url?.endsWith(LAYER) !== true) return well(request, response);
      const bytes = IMAGE.blobs.get(LAYER) ?? expect.fail('no layer');
      response.writeHead(200, { 'content-length': bytes.length });
      times += 1;
      if (times === 1) response.write(bytes.subarray(0, 200), () => response.destroy());
      else response.end(bytes);
    };
    await pull();
    expect(await blobs.has(LAYER)).toBe(true);
    expect(times).toBe(2);
  });

  it.each<[string, (bytes: Buffer) => Buffer, string]>([
    ['one bit turned', (bytes) => Buffer.from(bytes.map((byte, i) => (i === 100 ? byte ^ 1 : byte))), 'is corrupt'],
    ['more than its size', (bytes) => Buffer.concat([bytes, bytes]), 'is corrupt'],
  ])('with %s is refused, and nothing of it is kept', async (_, spoil, why) => {
    answer = spoilt(LAYER, 9, (response, bytes) => response.end(spoil(bytes)));
    await expect(pull()).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining(why) });
    expect(await blobs.has(LAYER)).toBe(false);
    expect(await readdir(blobs.incoming)).toEqual([]);
  });

  it.each<[string, (response: ServerResponse, bytes: Buffer) => void]>([
    ['cut short', (response, bytes) => response.end(bytes.subarray(0, 100))],
    ['always silent', () => undefined],
    ['always gone', (response) => response.writeHead(500).end()],
  ])('that is %s ends in unavailable, with what came kept for the next try', async (_, spoil) => {
    answer = spoilt(LAYER, 99, spoil);
    await expect(pull()).rejects.toMatchObject({ code: 'unavailable' });
    answer = sound();
    await pull();
    expect(await blobs.has(LAYER)).toBe(true);
  });

  it('stops being asked for when nobody wants it any more', async () => {
    answer = spoilt(LAYER, 99, () => undefined);
    const stop = new AbortController();
    const rest = {
      name: 'image',
      wanted: '1',
      pin: () => undefined,
      onProgress: () => undefined,
    };
    const slow = at({ stallMs: 60_000 });
    const pulled = new ImagePuller(blobs, clock).pull({ ...rest, repository: slow }, stop.signal);
    const outcome = expect(pulled).rejects.toThrow('enough');
    await expect.poll(() => askedFor(LAYER)).toBe(1);
    stop.abort(new Error('enough'));
    await outcome;
    await slow.close();
  });
});

describe('an image', () => {
  it('for another platform is refused', async () => {
    const image = imageOf({ layers: [layer([])], arch: 'mips' });
    answer = sound(image);
    await expect(pull()).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('is for linux/mips'),
    });
    expect(await blobs.has(image.digest as Digest)).toBe(false);
  });
});
