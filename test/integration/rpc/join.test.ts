import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { pino } from 'pino';
import { afterEach, expect, it } from 'vitest';
import { join } from '../../../agent/join.ts';
import { systemClock } from '../../../common/clock.ts';
import type { Cluster } from '../../../common/model/cluster.ts';
import { rpcServer } from '../../../common/rpc.ts';
import { createCa, issue } from '../../../common/tls/certificate.ts';
import { identify } from '../../../common/tls/peer.ts';
import { formatToken } from '../../../common/tls/token.ts';
import { Authority } from '../../../manager/ca/authority.ts';
import { put } from '../../../manager/store/store.ts';
import { Ca } from '../../../proto/methods.ts';
import { MemoryStore } from '../../support/memory-store.ts';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const SECRET = `${'a'.repeat(24)}z`;
const signal = AbortSignal.timeout(30_000);
const validity = () => ({ now: Date.now(), lifetimeMs: 3_600_000 });

async function cluster() {
  const ca = await createCa('c1', Date.now());
  const store = new MemoryStore();
  const record: Cluster = {
    id: 'c1',
    createdAt: 0,
    incarnation: 1,
    ca,
    joinSecret: SECRET,
    certificateLifetimeMs: 3_600_000,
    failoverAfterMs: 15_000,
    taskHistory: 5,
    addressPool: '10.64.0.0/12',
    blockBits: 24,
    revoked: {},
  };
  await store.commit([[put('cluster', 'default', record)]], signal);
  const server = rpcServer(ca.certificate, pino({ level: 'silent' }));
  const authority = new Authority(store, systemClock);
  server.addMethod(Ca, 'issue', authority.issue, 'anyone');
  server.addMethod(Ca, 'renew', authority.renew, ['worker']);
  const own = await issue(ca, { role: 'manager', id: 'm1', clusterId: 'c1' }, validity());
  const port = await server.listen('127.0.0.1:0', { ca: ca.certificate, ...own });
  closers.push(() => server.close(100));
  return { ca, store, address: `127.0.0.1:${port}`, token: formatToken(ca.certificate, SECRET) };
}

it('gives a joiner with the token a certificate and a node record', async () => {
  const { ca, store, address, token } = await cluster();
  const identity = await join({ token, address, hostname: 'n1' }, signal);
  const pem = identity.certificate.split('-----END CERTIFICATE-----')[0] ?? '';
  const der = Buffer.from(pem.replace('-----BEGIN CERTIFICATE-----', ''), 'base64');
  expect(identify(ca.certificate)(der)).toMatchObject({ role: 'worker', id: identity.id, clusterId: 'c1' });
  expect(store.view.get('node', identity.id)?.value).toMatchObject({ availability: 'active', role: 'worker' });
});

it('refuses a wrong secret, and says how to get the right one', async () => {
  const { ca, address } = await cluster();
  const token = formatToken(ca.certificate, 'b'.repeat(25));
  await expect(join({ token, address, hostname: 'n1' }, signal)).rejects.toMatchObject({
    code: 'denied',
    hint: expect.stringContaining('covey cluster token'),
  });
});

it('refuses a malformed token without repeating it', async () => {
  const error = await join({ token: 'CVYTKN-1-secret', address: '127.0.0.1:1', hostname: 'n1' }, signal).catch(
    (e) => e,
  );
  expect(error).toMatchObject({ code: 'invalid' });
  expect(String(error.message)).not.toContain('secret');
});

/** A server in between that shows `own`'s chain and records every byte it can decrypt. */
async function interceptor(own: { certificate: string; key: string }) {
  const heard: Buffer[] = [];
  const server = createTlsServer({ cert: own.certificate, key: own.key, ALPNProtocols: ['h2'] }, (socket) => {
    socket.on('data', (bytes) => heard.push(bytes));
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { heard, port: (server.address() as { port: number }).port };
}

it('shows a man in the middle with a certificate of his own not a byte', async () => {
  const { token } = await cluster();
  const forger = await createCa('c1', Date.now());
  const own = await issue(forger, { role: 'manager', id: 'm1', clusterId: 'c1' }, validity());
  const { heard, port } = await interceptor(own);
  await expect(join({ token, address: `127.0.0.1:${port}`, hostname: 'n1' }, signal)).rejects.toMatchObject({
    code: 'denied',
  });
  expect(Buffer.concat(heard)).toHaveLength(0);
});

it('shows a man in the middle who replays the true CA behind his own leaf not a byte', async () => {
  const { ca, token } = await cluster();
  const forger = await createCa('c1', Date.now());
  const own = await issue(forger, { role: 'manager', id: 'm1', clusterId: 'c1' }, validity());
  const leaf = own.certificate.split('-----END CERTIFICATE-----')[0];
  const { heard, port } = await interceptor({
    ...own,
    certificate: `${leaf}-----END CERTIFICATE-----\n${ca.certificate}`,
  });
  await expect(join({ token, address: `127.0.0.1:${port}`, hostname: 'n1' }, signal)).rejects.toMatchObject({
    code: 'denied',
  });
  expect(Buffer.concat(heard)).toHaveLength(0);
});

it('shows a man in the middle who swaps in his own server after the first look not a byte', async () => {
  const { token, address } = await cluster();
  const forger = await createCa('c1', Date.now());
  const own = await issue(forger, { role: 'manager', id: 'm1', clusterId: 'c1' }, validity());
  const { heard, port } = await interceptor(own);
  const truePort = Number(address.split(':')[1]);
  let connections = 0;
  const { connect } = await import('node:net');
  const sockets: Socket[] = [];
  const relay = createServer((socket) => {
    connections += 1;
    const onward = connect(connections === 1 ? truePort : port, '127.0.0.1');
    sockets.push(socket, onward);
    for (const end of [socket, onward]) end.on('error', () => {});
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    relay.close();
  });
  const relayed = `127.0.0.1:${(relay.address() as { port: number }).port}`;
  await expect(join({ token, address: relayed, hostname: 'n1' }, signal)).rejects.toThrow();
  expect(connections).toBeGreaterThan(1);
  expect(Buffer.concat(heard)).toHaveLength(0);
});
