import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { noLog } from '../../../common/log.ts';
import { retry } from '../../../common/retry.ts';
import { Etcd, type EtcdOptions } from '../../../manager/store/etcd.ts';
import { EtcdStore } from '../../../manager/store/etcd-store.ts';
import { put } from '../../../manager/store/store.ts';
import { aTask } from '../../support/objects.ts';

const soon = (): AbortSignal => AbortSignal.timeout(30_000);

let directory: string;
let server: ChildProcess;
let live: string;
let dead: string;
let tls: NonNullable<EtcdOptions['tls']>;
const clients: Etcd[] = [];

function client(options: Partial<EtcdOptions>): Etcd {
  const etcd = new Etcd({ endpoints: [live], clock: systemClock, ...options });
  clients.push(etcd);
  return etcd;
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

/** A CA and one certificate for server and client, made with openssl. */
function makeCertificates(): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  openssl('req', '-x509', ...key, '-subj', '/CN=test-ca', '-keyout', 'ca.key', '-out', 'ca.pem');
  openssl('req', ...key.slice(0, -2), '-subj', '/CN=etcd', '-keyout', 'etcd.key', '-out', 'etcd.csr');
  writeFileSync(join(directory, 'san'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  const ca = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1', '-extfile', 'san'];
  openssl('x509', '-req', '-in', 'etcd.csr', ...ca, '-out', 'etcd.pem');
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'covey-outside-'));
  makeCertificates();
  const [ca, certificate, key] = ['ca.pem', 'etcd.pem', 'etcd.key'].map((name) => readFileSync(join(directory, name)));
  tls = { ca: ca as Buffer, certificate: certificate as Buffer, key: key as Buffer };
  live = `https://127.0.0.1:${await freePort()}`;
  dead = `https://127.0.0.1:${await freePort()}`;
  const flags = [
    ['--data-dir', 'data', '--listen-client-urls', live, '--advertise-client-urls', live],
    ['--listen-peer-urls', 'unix://peer:0', '--initial-advertise-peer-urls', 'unix://peer:0'],
    ['--initial-cluster', 'default=unix://peer:0', '--logger', 'zap', '--log-level', 'error'],
    ['--client-cert-auth', '--trusted-ca-file', 'ca.pem', '--cert-file', 'etcd.pem', '--key-file', 'etcd.key'],
  ].flat();
  server = spawn('setpriv', ['--pdeathsig', 'SIGKILL', 'etcd', ...flags], { cwd: directory, stdio: 'ignore' });
  const etcd = client({ tls });
  await retry(() => etcd.health(soon()), { clock: systemClock, signal: soon(), firstMs: 50, maxMs: 200, jitter: 0 });
});
afterAll(async () => {
  for (const etcd of clients) etcd.close();
  if (server !== undefined && server.exitCode === null) {
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
  rmSync(directory, { recursive: true, force: true });
});

it('is reached with certificates, also when one of its endpoints is away', async () => {
  const etcd = client({ tls, endpoints: [dead, live] });
  const store = await EtcdStore.open({ etcd, prefix: 'covey', clock: systemClock, log: noLog }, soon());
  try {
    for (let index = 0; index < 10; index += 1) {
      const [result] = await store.commit([[put('task', `t${index}`, aTask(`t${index}`), 0)]], soon());
      expect(result?.kind).toBe('done');
    }
    await store.caughtUp(soon());
    expect([...store.view.all('task')]).toHaveLength(10);
  } finally {
    await store.close();
  }
});

it('is not reached with a certificate of another CA', async () => {
  mkdirSync(join(directory, 'other'));
  const openssl = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  execFileSync('openssl', [...openssl, '-subj', '/CN=x', '-keyout', 'other/key', '-out', 'other/pem'], {
    cwd: directory,
    stdio: 'ignore',
  });
  const stranger = {
    ...tls,
    certificate: readFileSync(join(directory, 'other/pem')),
    key: readFileSync(join(directory, 'other/key')),
  };
  const failure = client({ tls: stranger }).health(soon());
  await expect(failure).rejects.toMatchObject({ name: 'ClusterError' });
});
