/** The connection on which nodes take pieces from one another: real sockets and certificates, and whoever may not have any. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MeshDoor } from '../../../agent/mesh/door.ts';
import { PieceMemory } from '../../../agent/mesh/piece-memory.ts';
import { PieceChannel } from '../../../agent/mesh/wire/channel.ts';
import { systemClock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import { PIECE_BYTES } from '../../../common/oci/cut.ts';
import type { KeyedCertificate } from '../../../common/tls/certificate.ts';
import type { Identity } from '../../../common/tls/identity.ts';
import type { covey } from '../../../proto/messages.ts';
import type { Mesh } from '../../../proto/methods.ts';
import type { Handlers } from '../../../proto/rpc.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { meshCa, meshIdentity } from '../../support/mesh-world.ts';
import { until } from '../../support/until.ts';

type Ask = covey.v1.ExchangeAsk.$Properties;

const PIECE = randomBytes(PIECE_BYTES);
let ca: KeyedCertificate;
let giver: Identity;
let taker: Identity;
let door: MeshDoor;
let open: PieceChannel[];
/** Why calls ended at the giver. */
let ended: unknown[];

/** Gives the piece for each `want`, fails for one of 404, and says who asked. */
const exchange: Handlers<typeof Mesh> = {
  async *exchange(asks, { peer, signal }) {
    signal.addEventListener('abort', () => ended.push(signal.reason));
    for await (const { digest, want } of asks) {
      if (digest !== '') yield { size: 1, has: Buffer.from(peer?.id ?? 'nobody') };
      else if (want === 404) throw new ClusterError('not_found', 'nothing of it is here', { hint: 'ask another' });
      else yield { index: want, bytes: PIECE };
    }
  },
};

beforeEach(async () => {
  ca = await meshCa();
  giver = await meshIdentity(ca, 'worker', 'giver');
  taker = await meshIdentity(ca, 'worker', 'taker');
  ended = [];
  open = [];
  door = await MeshDoor.open({
    address: '127.0.0.1',
    port: 0,
    identity: giver,
    exchange,
    clock: systemClock,
    log: noLog,
  });
});
afterEach(async () => {
  for (const channel of open) channel.close();
  await door.close();
});

function channelOf(options: { identity?: Identity; nodeId?: string; address?: string; clock?: FakeClock } = {}) {
  const { identity = taker, nodeId = 'giver', address = `127.0.0.1:${door.port}`, clock = systemClock } = options;
  const channel = new PieceChannel({ nodeId, address, identity, memory: new PieceMemory(clock), clock });
  open.push(channel);
  return channel;
}

/** Asks and takes turns with the answers; the call is ended after the last. */
async function talk(channel: PieceChannel, asks: readonly Ask[]): Promise<covey.v1.ExchangeOffer[]> {
  const stop = new AbortController();
  const offers: covey.v1.ExchangeOffer[] = [];
  let answered = (): void => {};
  async function* oneByOne(): AsyncGenerator<Ask> {
    for (const ask of asks) {
      const next = new Promise<void>((resolve) => {
        answered = resolve;
      });
      yield ask;
      await next;
    }
    stop.abort(new Error('enough'));
  }
  try {
    for await (const offer of channel.exchange(oneByOne(), { signal: stop.signal })) {
      offers.push({ ...offer, bytes: Buffer.from(offer.bytes) } as covey.v1.ExchangeOffer);
      answered();
    }
  } catch (cause) {
    if (!stop.signal.aborted) throw cause;
  }
  return offers;
}

/** However it ends: what it is told on the way is the other side's affair. */
function closeOf(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

describe('a node that takes pieces', () => {
  it('is known to the giver by its certificate, and gets what it asks for', async () => {
    const [hello, piece] = await talk(channelOf(), [{ digest: 'd' }, { want: 7 }]);
    expect(Buffer.from(hello?.has ?? []).toString()).toBe('taker');
    expect(piece?.index).toBe(7);
    expect(PIECE.equals(piece?.bytes ?? Buffer.alloc(0))).toBe(true);
    await until('the call ends at the giver', 5_000, () => ended.length === 1);
  });

  it('makes many calls on one connection, each with its own pieces', async () => {
    const channel = channelOf();
    const calls = Array.from({ length: 20 }, (_, index) => talk(channel, [{ digest: 'd' }, { want: index + 1 }]));
    const pieces = (await Promise.all(calls)).map((offers) => offers[1]);
    expect(pieces.map((piece) => piece?.index)).toEqual(calls.map((_, index) => index + 1));
    for (const piece of pieces) expect(PIECE.equals(piece?.bytes ?? Buffer.alloc(0))).toBe(true);
  });

  it('hears why a call failed, and goes on with others', async () => {
    const channel = channelOf();
    await expect(talk(channel, [{ digest: 'd' }, { want: 404 }])).rejects.toMatchObject({
      code: 'not_found',
      message: 'nothing of it is here',
      hint: 'ask another',
    });
    expect(await talk(channel, [{ digest: 'd' }])).toHaveLength(1);
  });

  it('talks to the node that it means and to no other', async () => {
    await expect(talk(channelOf({ nodeId: 'another' }), [{ digest: 'd' }])).rejects.toThrow('is not node another');
  });

  it('hears that nobody answers', async () => {
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as { port: number };
    free.close();
    await once(free, 'close');
    const call = talk(channelOf({ address: `127.0.0.1:${port}` }), [{ digest: 'd' }]);
    await expect(call).rejects.toMatchObject({ code: 'unavailable', message: /ECONNREFUSED/ });
  });

  it('connects anew after the giver was away', async () => {
    const channel = channelOf();
    await talk(channel, [{ digest: 'd' }]);
    const { port } = door;
    await door.close();
    await expect(talk(channel, [{ digest: 'd' }])).rejects.toMatchObject({ code: 'unavailable' });
    door = await MeshDoor.open({
      address: '127.0.0.1',
      port,
      identity: giver,
      exchange,
      clock: systemClock,
      log: noLog,
    });
    expect(await talk(channel, [{ digest: 'd' }])).toHaveLength(1);
  });

  it('gives up who accepts and says nothing', async () => {
    const mute = createServer().listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const { port } = mute.address() as { port: number };
    const clock = new FakeClock();
    try {
      const connected = once(mute, 'connection');
      const call = talk(channelOf({ address: `127.0.0.1:${port}`, clock }), [{ digest: 'd' }]);
      const [socket] = await connected;
      clock.advance(5_000);
      await expect(call).rejects.toThrow('does not answer within 5000 ms');
      socket.destroy();
    } finally {
      mute.close();
      await once(mute, 'close');
    }
  });
});

describe('a node that gives pieces', () => {
  it.each([
    ['a manager', 'manager', () => ca],
    ['a node of another cluster', 'worker', meshCa],
  ] as const)('gives %s nothing', async (_, role, caOf) => {
    const stranger = { ...(await meshIdentity(await caOf(), role, 'taker')), ca: ca.certificate };
    await expect(talk(channelOf({ identity: stranger }), [{ digest: 'd' }])).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(ended).toEqual([]);
  });

  it('gives whoever shows no certificate nothing', async () => {
    const socket = tlsConnect({
      host: '127.0.0.1',
      port: door.port,
      ca: ca.certificate,
      checkServerIdentity: () => undefined,
    });
    const closed = closeOf(socket);
    socket.write(Buffer.alloc(64));
    await closed;
    expect(ended).toEqual([]);
  });

  it('hangs up on what it does not understand, and serves the others', async () => {
    const channel = channelOf();
    await talk(channel, [{ digest: 'd' }]);
    const socket = tlsConnect({
      host: '127.0.0.1',
      port: door.port,
      ca: ca.certificate,
      cert: taker.certificate,
      key: taker.key,
      checkServerIdentity: () => undefined,
    });
    await once(socket, 'secureConnect');
    const closed = closeOf(socket);
    socket.write(randomBytes(64).fill(0xff, 4, 5));
    socket.resume();
    await closed;
    expect(await talk(channel, [{ digest: 'd' }])).toHaveLength(1);
  });

  it('hangs up on whoever speaks no TLS', async () => {
    const socket = connect(door.port, '127.0.0.1');
    const closed = closeOf(socket);
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await closed;
    expect(ended).toEqual([]);
  });
});
