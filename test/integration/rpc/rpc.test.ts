import { pino } from 'pino';
import { afterEach, expect, it } from 'vitest';
import { ClusterError } from '../../../common/errors.ts';
import { aborted } from '../../../common/iterate.ts';
import { rpcChannel, rpcServer } from '../../../common/rpc.ts';
import { createCa, issue, type KeyedCertificate } from '../../../common/tls/certificate.ts';
import { Control, Dispatcher } from '../../../proto/methods.ts';
import type { Role, TlsMaterial } from '../../../proto/rpc.ts';
import type { RpcChannel } from '../../../proto/rpc-channel.ts';
import type { RpcServer } from '../../../proto/rpc-server.ts';

const silent = pino({ level: 'silent' });
const open: { server: RpcServer; channels: RpcChannel[] } = { server: undefined as never, channels: [] };
const HOUR = 3_600_000;
/** More than a stream's buffer holds. */
const LAST_ANSWERS = 100;

async function material(ca: KeyedCertificate, role: Role, id: string, now = Date.now()): Promise<TlsMaterial> {
  const own = await issue(ca, { role, id, clusterId: 'c1' }, { now, lifetimeMs: HOUR });
  return { ca: ca.certificate, certificate: own.certificate, key: own.key };
}

function channel(port: number, tls: TlsMaterial): RpcChannel {
  const made = rpcChannel(`127.0.0.1:${port}`, tls);
  open.channels.push(made);
  return made;
}

async function serve(ca: KeyedCertificate): Promise<number> {
  const server = rpcServer(ca.certificate, silent);
  open.server = server;
  server.addMethod(
    Control,
    'getService',
    async ({ ref }, call) => {
      if (ref === 'absent') {
        throw new ClusterError('not_found', 'no service "absent"', { field: 'ref', hint: 'see `covey service ls`' });
      }
      if (ref === 'bug') throw new TypeError('x is undefined');
      return { warnings: [call.peer?.id ?? ''] };
    },
    ['client'],
  );
  server.add(
    Dispatcher,
    {
      async *session(requests, call) {
        for await (const message of requests) {
          yield { welcome: { nodeId: call.peer?.id ?? '', failoverAfterMs: message.report?.sequence ?? 0 } };
        }
      },
      async publishLogs(requests) {
        let lines = 0;
        for await (const message of requests) lines += message.lines.length;
        if (lines === 0) throw new ClusterError('invalid', 'no lines');
        return {};
      },
      async *relay(requests) {
        for await (const { message, end } of requests) {
          if (end) break;
          yield { message: message ?? new Uint8Array() };
        }
        for (let count = 1; count <= LAST_ANSWERS; count += 1) yield { message: Uint8Array.of(count) };
      },
    },
    ['worker'],
  );
  return server.listen('127.0.0.1:0', await material(ca, 'manager', 'm1'));
}

afterEach(async () => {
  for (const made of open.channels.splice(0)) made.close();
  await open.server?.close(100);
});

const ca = await createCa('c1', Date.now());
const signal = AbortSignal.timeout(30_000);

it('tells a handler who calls, and carries an error with its code, field and hint', async () => {
  const port = await serve(ca);
  const client = channel(port, await material(ca, 'client', 'admin')).service(Control);
  expect((await client.getService({ ref: 'x' }, { signal })).warnings).toEqual(['admin']);
  await expect(client.getService({ ref: 'absent' }, { signal })).rejects.toMatchObject({
    code: 'not_found',
    message: 'no service "absent"',
    field: 'ref',
    hint: 'see `covey service ls`',
  });
});

it('hides a bug behind a request id', async () => {
  const port = await serve(ca);
  const client = channel(port, await material(ca, 'client', 'admin')).service(Control);
  const error = await client.getService({ ref: 'bug' }, { signal }).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ code: 'internal' });
  expect((error as Error).message).toMatch(/^internal error, request [0-9a-f]{12}$/);
});

it('denies a caller of the wrong role', async () => {
  const port = await serve(ca);
  const client = channel(port, await material(ca, 'worker', 'n1')).service(Control);
  await expect(client.getService({ ref: 'x' }, { signal })).rejects.toMatchObject({ code: 'denied' });
});

it('denies a certificate of another CA that copies every name', async () => {
  const port = await serve(ca);
  const forger = await createCa('c1', Date.now());
  const forged = await material(forger, 'client', 'admin');
  const client = channel(port, { ...forged, ca: ca.certificate }).service(Control);
  await expect(client.getService({ ref: 'x' }, { signal })).rejects.toMatchObject({ code: 'denied' });
});

it('denies an expired certificate', async () => {
  const port = await serve(ca);
  const client = channel(port, await material(ca, 'client', 'admin', Date.now() - 3 * HOUR)).service(Control);
  await expect(client.getService({ ref: 'x' }, { signal })).rejects.toMatchObject({ code: 'denied' });
});

it('refuses to talk to a server whose certificate is not a manager’s', async () => {
  const server = rpcServer(ca.certificate, silent);
  open.server = server;
  server.addMethod(Control, 'getService', async () => ({}), ['client']);
  const port = await server.listen('127.0.0.1:0', await material(ca, 'worker', 'n1'));
  const client = channel(port, await material(ca, 'client', 'admin')).service(Control);
  await expect(client.getService({ ref: 'x' }, { signal })).rejects.toMatchObject({ code: 'unavailable' });
});

it('streams both ways and keeps a session open while the server takes up a renewed certificate', async () => {
  const port = await serve(ca);
  const client = channel(port, await material(ca, 'worker', 'n1')).service(Dispatcher);
  const stop = new AbortController();
  const asks = new TransformStream<number, number>();
  const writer = asks.writable.getWriter();
  const requests = (async function* () {
    for await (const n of asks.readable as unknown as AsyncIterable<number>)
      yield { report: { sequence: n, statuses: [] } };
  })();
  const answers = client.session(requests, { signal: stop.signal })[Symbol.asyncIterator]();
  const ask = async (n: number) => {
    void writer.write(n);
    const answer = await answers.next();
    return answer.done === true ? undefined : answer.value.welcome;
  };
  expect(await ask(1)).toMatchObject({ nodeId: 'n1', failoverAfterMs: 1 });
  open.server.renew(await material(ca, 'manager', 'm1'));
  expect(await ask(2)).toMatchObject({ failoverAfterMs: 2 });
  const later = channel(port, await material(ca, 'worker', 'n2')).service(Dispatcher);
  await expect(later.publishLogs((async function* () {})(), { signal })).rejects.toMatchObject({ code: 'invalid' });
  stop.abort(new Error('done'));
  await expect(answers.next()).rejects.toThrow('done');
});

it('carries all answers to a caller whose requests are not read to their end', async () => {
  const port = await serve(ca);
  const client = channel(port, await material(ca, 'worker', 'n1')).service(Dispatcher);
  const over = new AbortController();
  async function* requests() {
    yield { end: {} };
    await aborted(over.signal);
  }
  const counts: (number | undefined)[] = [];
  for await (const { message } of client.relay(requests(), { signal: AbortSignal.timeout(5_000) })) {
    counts.push(message?.[0]);
  }
  over.abort();
  expect(counts).toEqual(Array.from({ length: LAST_ANSWERS }, (_, index) => index + 1));
});
