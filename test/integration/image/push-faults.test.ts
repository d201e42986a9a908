/** Registries that misbehave while they are written to: each is a server of ours on loopback. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { MANIFEST_TYPE } from '../../../common/oci/manifest.ts';
import { placeOf } from '../../../common/registry/place.ts';
import { type Parcel, Uploads } from '../../../common/registry/uploads.ts';
import { LOGIN } from '../../support/registry.ts';
import { streamOf } from '../../support/tar.ts';

const never = new AbortController().signal;
const STALL_MS = 300;
const CHUNK = 100_000;
const BYTES = Buffer.alloc(450_000, 'abcdefg');
const DIGEST = digestOf(BYTES);
const SMALL = BYTES.subarray(0, 1_000);
/** Waits are of no interest here. */
const waits: number[] = [];
const clock = { ...systemClock, sleep: async (ms: number) => void waits.push(ms) };

type Step = 'head' | 'begin' | 'patch' | 'where' | 'put' | 'manifest';
/** What the first so many requests of a kind meet instead of a sound answer; true: the sound one follows all the same. */
type Fault = (request: IncomingMessage, response: ServerResponse, registry: PretendRegistry) => boolean | undefined;

/** One upload at a time, one blob, by the letter of the spec. */
class PretendRegistry {
  readonly asked: string[] = [];
  received = Buffer.alloc(0);
  blob: Buffer | undefined;
  manifest: { readonly type: string | undefined; readonly body: Buffer } | undefined;
  readonly #faults = new Map<Step, { left: number; readonly fault: Fault }>();
  #uploads = 0;

  spoil(step: Step, times: number, fault: Fault): void {
    this.#faults.set(step, { left: times, fault });
  }

  count(step: Step): number {
    return this.asked.filter((each) => each.startsWith(step)).length;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === '/v2/') return void response.end();
    const step = stepOf(request);
    this.asked.push(`${step} ${request.headers['content-range'] ?? ''}`.trim());
    const spoilt = this.#faults.get(step);
    if (spoilt !== undefined && spoilt.left > 0) {
      spoilt.left -= 1;
      if (spoilt.fault(request, response, this) !== true) return;
    }
    await this.#well(step, request, response);
  }

  async #well(step: Step, request: IncomingMessage, response: ServerResponse): Promise<void> {
    switch (step) {
      case 'head':
        return void response.writeHead(this.blob === undefined ? 404 : 200).end();
      case 'begin':
        this.#uploads += 1;
        this.received = Buffer.alloc(0);
        return void response.writeHead(202, { location: `/v2/web/blobs/uploads/${this.#uploads}?_state=a%2Bb` }).end();
      case 'where':
        return void response.writeHead(204, this.#range()).end();
      case 'patch': {
        const begin = Number(/^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1]);
        const isHere = begin === this.received.length;
        // What arrives is kept as it arrives.
        for await (const piece of request) if (isHere) this.received = Buffer.concat([this.received, piece as Buffer]);
        return void response.writeHead(isHere ? 202 : 416, { location: request.url ?? '', ...this.#range() }).end();
      }
      case 'put': {
        const rest = await bodyOf(request);
        const all = Buffer.concat([this.received, rest]);
        const wanted = new URL(request.url ?? '', 'http://x').searchParams.get('digest');
        if (digestOf(all) !== wanted) return refuse(response, 400, 'provided digest did not match uploaded content');
        this.blob = all;
        return void response.writeHead(201, { 'docker-content-digest': digestOf(all) }).end();
      }
      case 'manifest': {
        const body = await bodyOf(request);
        this.manifest = { type: request.headers['content-type'], body };
        return void response.writeHead(201, { 'docker-content-digest': digestOf(body) }).end();
      }
    }
  }

  #range(): Record<string, string> {
    return { range: `0-${Math.max(this.received.length - 1, 0)}` };
  }
}

function stepOf({ method, url = '' }: IncomingMessage): Step {
  if (url.includes('/manifests/')) return 'manifest';
  if (method === 'HEAD') return 'head';
  if (method === 'POST') return 'begin';
  if (method === 'PATCH') return 'patch';
  return method === 'PUT' ? 'put' : 'where';
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

function refuse(response: ServerResponse, status: number, message: string): void {
  const body = JSON.stringify({ errors: [{ code: 'X', message }] });
  response.writeHead(status, { 'content-type': 'application/json' }).end(body);
}

let server: Server;
let registry: PretendRegistry;
let uploads: Uploads;

beforeEach(async () => {
  waits.length = 0;
  registry = new PretendRegistry();
  server = createServer((request, response) => {
    registry.answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  uploads = at();
});
afterEach(async () => {
  await uploads.close();
  server.closeAllConnections();
  server.close();
});

function at(more: object = {}): Uploads {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : expect.fail('no port');
  const place = placeOf(`127.0.0.1:${port}/web`);
  return new Uploads({ place, clock, stallMs: STALL_MS, tries: 3, chunkBytes: CHUNK, ...more });
}

function parcel(bytes: Buffer, more: Partial<Parcel> = {}): Parcel {
  const read = (offset: number): AsyncIterable<Uint8Array> => streamOf(bytes.subarray(offset));
  return { digest: digestOf(bytes), size: bytes.length, read, ...more };
}

const large = () => uploads.deliver(parcel(BYTES), never);
const small = () => uploads.deliver(parcel(SMALL), never);

describe('a large blob', () => {
  it('goes in chunks, each where the last one ended', async () => {
    expect(await large()).toBe('sent');
    const chunks = ['0-99999', '100000-199999', '200000-299999', '300000-399999', '400000-449999'];
    expect(registry.asked).toEqual(['head', 'begin', ...chunks.map((range) => `patch ${range}`), 'put']);
    expect(digestOf(registry.blob ?? '')).toBe(DIGEST);
  });

  it('that breaks off within a chunk is gone on with where the registry stands', async () => {
    registry.spoil('patch', 2, (request, _, { received }) => {
      if (received.length === 0) return true;
      request.once('data', (piece: Buffer) => {
        registry.received = Buffer.concat([received, piece]);
        request.socket.destroy();
      });
      return false;
    });
    expect(await large()).toBe('sent');
    expect(registry.count('begin')).toBe(1);
    expect(registry.count('where')).toBe(1);
    expect(digestOf(registry.blob ?? '')).toBe(DIGEST);
  });

  it.each<[string, Fault]>([
    ['500', (_, response) => void response.writeHead(500).end()],
    ['429', (_, response) => void response.writeHead(429, { 'retry-after': '3' }).end()],
    ['an end', (request) => void request.socket.destroy()],
    ['nothing', () => undefined],
    ['416', (_, response) => void response.writeHead(416).end()],
  ])('is gone on with after %s in the middle', async (_, fault) => {
    registry.spoil('patch', 2, (request, response, all) =>
      all.received.length === 0 ? true : fault(request, response, all),
    );
    expect(await large()).toBe('sent');
    expect(registry.count('begin')).toBe(1);
    expect(digestOf(registry.blob ?? '')).toBe(DIGEST);
  });

  it('whose upload the registry has forgotten is begun anew', async () => {
    registry.spoil('patch', 2, (_, response, { received }) =>
      received.length === 0 ? true : void response.writeHead(404).end(),
    );
    expect(await large()).toBe('sent');
    expect(registry.count('begin')).toBe(2);
  });

  it('goes whole to a registry that takes no chunks', async () => {
    registry.spoil('patch', 99, (_, response) => void response.writeHead(405).end());
    expect(await large()).toBe('sent');
    expect(registry.count('patch')).toBe(1);
    expect(digestOf(registry.blob ?? '')).toBe(DIGEST);
  });

  it('goes in chunks as large as the registry wants them', async () => {
    registry.spoil('begin', 1, (_, response) => {
      response.writeHead(202, { location: '/v2/web/blobs/uploads/1', 'oci-chunk-min-length': '300000' }).end();
      return undefined;
    });
    await large();
    expect(registry.asked.filter((each) => each.startsWith('patch'))).toEqual([
      'patch 0-299999',
      'patch 300000-449999',
    ]);
  });

  it('whose own bytes cannot be read is no fault of the registry', async () => {
    const gone = new ClusterError('not_found', 'blob is not here');
    const read = async function* (): AsyncGenerator<Uint8Array> {
      yield BYTES.subarray(0, 10);
      throw gone;
    };
    await expect(uploads.deliver(parcel(BYTES, { read }), never)).rejects.toBe(gone);
    expect(registry.count('begin')).toBe(1);
  });

  it('stops when nobody wants it any more', async () => {
    const stop = new AbortController();
    registry.spoil('patch', 99, () => {
      stop.abort(new Error('enough'));
      return undefined;
    });
    await expect(uploads.deliver(parcel(BYTES), stop.signal)).rejects.toThrow('enough');
  });
});

describe('a small blob', () => {
  it('goes in one request', async () => {
    expect(await small()).toBe('sent');
    expect(registry.asked).toEqual(['head', 'begin', 'put']);
    expect(registry.blob).toEqual(SMALL);
  });

  it('that is there is not sent', async () => {
    registry.blob = SMALL;
    expect(await small()).toBe('exists');
    expect(registry.asked).toEqual(['head']);
  });

  it('that cannot be mounted is sent', async () => {
    expect(await uploads.deliver(parcel(SMALL, { mountFrom: 'base' }), never)).toBe('sent');
  });

  it('that arrives other than it was is refused, and so is one that the registry says to have otherwise', async () => {
    registry.spoil(
      'put',
      1,
      (_, response) => void refuse(response, 400, 'provided digest did not match uploaded content'),
    );
    await expect(small()).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('did not match') });
    registry.spoil('put', 1, (_, response) => {
      response.writeHead(201, { 'docker-content-digest': DIGEST }).end();
      return undefined;
    });
    await expect(small()).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining(`as ${DIGEST} instead of ${digestOf(SMALL)}`),
    });
  });

  it.each<[string, Step, Fault, object, number]>([
    [
      '401 for ever',
      'head',
      (_, response) => void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
      { code: 'denied', message: expect.stringContaining('refuses the login of "ada"') },
      2,
    ],
    [
      '403',
      'begin',
      (_, response) => void refuse(response, 403, 'read only'),
      { code: 'denied', message: expect.stringContaining('read only') },
      1,
    ],
    [
      '404',
      'begin',
      (_, response) => void refuse(response, 404, 'repository "web" does not exist'),
      { code: 'not_found', message: expect.stringContaining('does not exist') },
      1,
    ],
    [
      'a web page',
      'begin',
      (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      { code: 'invalid' },
      1,
    ],
    [
      'no place to go',
      'begin',
      (_, response) => void response.writeHead(202).end(),
      { code: 'invalid', message: expect.stringContaining('to nowhere') },
      1,
    ],
    [
      'a redirect in circles',
      'begin',
      (request, response) => void response.writeHead(307, { location: request.url ?? '' }).end(),
      { code: 'invalid', message: expect.stringContaining('more than 5 times') },
      6,
    ],
    [
      '413',
      'put',
      (_, response) => void response.writeHead(413).end(),
      { code: 'invalid', message: expect.stringContaining('413') },
      1,
    ],
    [
      '429 for ever',
      'put',
      (_, response) => void response.writeHead(429, { 'retry-after': '7' }).end(),
      { code: 'exhausted' },
      3,
    ],
    ['500 for ever', 'put', (_, response) => void response.writeHead(500).end(), { code: 'unavailable' }, 3],
  ])('ends with %s', async (_, step, fault, error, times) => {
    registry.spoil(step, 99, fault);
    const own = at({ login: LOGIN });
    await expect(own.deliver(parcel(SMALL), never)).rejects.toMatchObject(error);
    await own.close();
    expect(registry.count(step)).toBe(times);
  });

  it('waits as long as the registry asks for', async () => {
    registry.spoil('put', 1, (_, response) => void response.writeHead(429, { 'retry-after': '7' }).end());
    await small();
    expect(waits).toContain(7_000);
  });
});

describe('a manifest', () => {
  const bytes = Buffer.from('{"schemaVersion": 2 }\n');
  const manifest = { digest: digestOf(bytes), mediaType: MANIFEST_TYPE, bytes };

  it('goes as it is, with its type', async () => {
    await uploads.putManifest('1', manifest, never);
    expect(registry.manifest).toEqual({ type: MANIFEST_TYPE, body: bytes });
  });

  it('is put again when the registry is busy, and refused when it has become another', async () => {
    registry.spoil('manifest', 1, (_, response) => void response.writeHead(503).end());
    await uploads.putManifest('1', manifest, never);
    expect(registry.count('manifest')).toBe(2);
    registry.spoil('manifest', 1, (_, response) => {
      response.writeHead(201, { 'docker-content-digest': DIGEST }).end();
      return undefined;
    });
    await expect(uploads.putManifest('1', manifest, never)).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('a token', () => {
  it('is asked for with the right to push, and to read what is mounted from, and is renewed within a push', async () => {
    let now = 0;
    const tokens: (string | null)[][] = [];
    const address = server.address() as { port: number };
    const inner = server.listeners('request')[0] as (request: IncomingMessage, response: ServerResponse) => void;
    server.removeAllListeners('request').on('request', (request: IncomingMessage, response: ServerResponse) => {
      const url = new URL(request.url ?? '', 'http://x');
      if (url.pathname === '/token') {
        tokens.push(url.searchParams.getAll('scope'));
        return response.end(JSON.stringify({ token: `t${tokens.length}`, expires_in: 60 }));
      }
      if (url.pathname === '/v2/' || request.headers.authorization === `Bearer t${tokens.length}`)
        return inner(request, response);
      const challenge = `Bearer realm="http://127.0.0.1:${address.port}/token",service="s",scope="repository:web:pull"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    });
    const own = at({ clock: { ...clock, now: () => now }, mountFrom: ['base'] });
    await own.deliver(parcel(SMALL), never);
    now = 100_000;
    await own.putManifest('1', { digest: digestOf('{}'), mediaType: MANIFEST_TYPE, bytes: Buffer.from('{}') }, never);
    await own.close();
    expect(tokens).toEqual(Array(2).fill(['repository:web:pull,push', 'repository:base:pull']));
  });
});
