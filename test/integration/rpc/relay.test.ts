/** A user's call on its way through a manager to a node's agent: real gRPC on loopback, the agent's handlers the test's. */
import { afterEach, expect, it } from 'vitest';
import { Relays } from '../../../agent/relay/relays.ts';
import { systemClock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { aborted, untilAborted, withResolvers } from '../../../common/iterate.ts';
import { noLog } from '../../../common/log.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import { rpcChannel, rpcServer } from '../../../common/rpc.ts';
import { createCa, issue } from '../../../common/tls/certificate.ts';
import { RelayBroker } from '../../../manager/relay/broker.ts';
import { covey } from '../../../proto/messages.ts';
import { Dispatcher, type Engine } from '../../../proto/methods.ts';
import type { Handlers, Role } from '../../../proto/rpc.ts';

const LIFE_MS = 3_600_000;
const NODE = 'n1' as NodeId;
const TARGET = { nodeId: NODE, nodeName: 'host1', what: 'node "host1"', lost: 'how it ended' };
const { ExecInput, ExecOutput } = covey.v1;

type Exec = Handlers<typeof Engine>['exec'];

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A broker behind a server, and an agent whose exec is `handler`. */
async function world(handler: Exec) {
  const ca = await createCa('c1', Date.now());
  const material = async (role: Role, id: string) => ({
    ca: ca.certificate,
    ...(await issue(ca, { role, id, clusterId: 'c1' }, { now: Date.now(), lifetimeMs: LIFE_MS })),
  });
  const server = rpcServer(ca.certificate, noLog);
  const broker: RelayBroker = new RelayBroker(systemClock, (_node, { relay, relayEnd }) => {
    if (relay) relays.begin(relay, channel);
    if (relayEnd) relays.end(relayEnd.id ?? '');
    return true;
  });
  const none = (): never => {
    throw new ClusterError('invalid', 'not served here');
  };
  const relay: Handlers<typeof Dispatcher>['relay'] = (messages, { signal }) => broker.answer(NODE, messages, signal);
  server.add(Dispatcher, { session: none, publishLogs: none, relay }, ['worker']);
  const port = await server.listen('127.0.0.1:0', await material('manager', 'm1'));
  closers.push(() => server.close(0));
  const channel = rpcChannel(`127.0.0.1:${port}`, await material('worker', NODE));
  const relays = new Relays({ exec: handler } as Handlers<typeof Engine>, noLog);
  closers.push(() => {
    relays.endAll();
    channel.close();
  });
  const call = (requests: AsyncIterable<covey.v1.ExecInput.$Properties>, signal = AbortSignal.timeout(20_000)) =>
    broker.call({ target: TARGET, method: 'exec', requests: encoded(requests) }, signal);
  return { broker, relays, channel, call };
}

async function* encoded(requests: AsyncIterable<covey.v1.ExecInput.$Properties>): AsyncGenerator<Uint8Array> {
  for await (const request of requests) yield ExecInput.encode(request).finish();
}

async function* inputs(...texts: readonly string[]): AsyncGenerator<covey.v1.ExecInput.$Properties> {
  for (const text of texts) yield { stdin: Buffer.from(text) };
}

async function* endless(): AsyncGenerator<covey.v1.ExecInput.$Properties> {
  for (;;) yield { stdin: Buffer.alloc(32_768) };
}

async function heard(answers: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
  const texts: string[] = [];
  for await (const bytes of answers) texts.push(Buffer.from(ExecOutput.decode(bytes).stdout ?? []).toString());
  return texts;
}

it('carries what each side says to the other, to its end', async () => {
  const { call } = await world(async function* (messages) {
    for await (const { stdin } of messages) yield { stdout: Buffer.from(`heard ${Buffer.from(stdin ?? [])}`) };
    yield { stdout: Buffer.from('all') };
  });
  expect(await heard(call(inputs('a', 'b')))).toEqual(['heard a', 'heard b', 'all']);
});

it('answers a handler that has ended while the user would still talk', async () => {
  const { call } = await world(async function* () {
    yield { stdout: Buffer.from('bye') };
  });
  expect(await heard(call(endless()))).toEqual(['bye']);
});

it('carries an error with its code, field and hint', async () => {
  const { call } = await world(async function* () {
    yield { stdout: Buffer.from('so far') };
    throw new ClusterError('conflict', 'it is paused', { field: 'container', hint: 'unpause it' });
  });
  const failing = heard(call(inputs()));
  await expect(failing).rejects.toMatchObject({ code: 'conflict', field: 'container', hint: 'unpause it' });
});

it('tells the handler that the user has gone, though nobody reads what the user said', async () => {
  const begun = withResolvers<void>();
  const ended = withResolvers<void>();
  const { call } = await world(async function* (_messages, { signal }) {
    yield { stdout: Buffer.from('waiting') };
    begun.resolve();
    await aborted(signal);
    ended.resolve();
  });
  const stop = new AbortController();
  const listening = heard(call(endless(), stop.signal));
  await begun.promise;
  stop.abort(new Error('Ctrl-C'));
  await expect(listening).rejects.toThrow('Ctrl-C');
  await untilAborted(ended.promise, AbortSignal.timeout(10_000));
});

it('says that a node broke off', async () => {
  const { call, channel, relays } = await world(async function* (_messages, { signal }) {
    yield { stdout: Buffer.from('so far') };
    await aborted(signal);
  });
  const answers = call(inputs())[Symbol.asyncIterator]();
  await answers.next();
  relays.endAll();
  channel.close();
  await expect(answers.next()).rejects.toMatchObject({
    code: 'unavailable',
    message: 'node host1 broke off: how it ended is not known',
  });
});

it('refuses a method that the agent does not know', async () => {
  const { broker } = await world(async function* () {});
  const signal = AbortSignal.timeout(20_000);
  const answers = broker.call({ target: TARGET, method: 'fly', requests: encoded(inputs()) }, signal);
  await expect(heard(answers)).rejects.toMatchObject({ code: 'invalid', hint: 'upgrade the agent' });
});

it('holds up a node that says more than the user reads', async () => {
  let said = 0;
  const { call } = await world(async function* (_messages, { signal }) {
    while (!signal.aborted) {
      said += 1;
      yield { stdout: Buffer.alloc(65_536) };
    }
  });
  const stop = new AbortController();
  const answers = call(inputs(), stop.signal)[Symbol.asyncIterator]();
  await answers.next();
  // It says no more once the way is full: two looks one after the other agree.
  let before = -1;
  const more = (): number => {
    const grown = said - before;
    before = said;
    return grown;
  };
  await expect.poll(more, { timeout: 10_000, interval: 100 }).toBe(0);
  expect(said).toBeLessThan(1_000);
  stop.abort();
});
