/**
 * The service Engine at a manager: every method of it, passed on to the node that serves it. It knows of a message only
 * which node its first one is for.
 */
import { ClusterError } from '../../common/errors.ts';
import { untilAborted } from '../../common/iterate.ts';
import { type AnyMethod, Engine } from '../../proto/methods.ts';
import type { Call, Client, Handlers } from '../../proto/rpc.ts';
import { type DispatcherDoor, notLeading } from '../dispatcher/door.ts';
import type { Store, View } from '../store/store.ts';
import { aim } from './aim.ts';
import type { RelayBroker } from './broker.ts';

export type EngineMethod = keyof typeof Engine.methods & string;

export interface EngineParts {
  readonly store: Store;
  readonly door: DispatcherDoor;
  /** This manager's own address: it never asks itself. */
  readonly ownAddress: string;
  /** The same service of another manager. */
  readonly ask: (address: string) => Client<typeof Engine>;
}

/** One method as all kinds of calls look from here: messages in, messages out. */
export type EngineSource = (
  method: EngineMethod,
  requests: AsyncIterable<object>,
  signal: AbortSignal,
) => AsyncIterable<object>;

/** Through the broker here while this manager leads, through the leader's otherwise. */
export function engineSource(parts: EngineParts): EngineSource {
  return (method, requests, signal) => {
    const here = parts.door.leadership;
    if (here !== undefined) return relayed(parts.store.view, here.relays, { method, requests }, signal);
    const address = parts.store.view.get('leader', 'default')?.value.address;
    if (address === undefined || address === parts.ownAddress) throw notLeading(parts.store);
    return asked(parts.ask(address), { method, requests }, signal);
  };
}

/** The handlers of the service. */
export function engineService(source: EngineSource): Handlers<typeof Engine> {
  const entries = Object.entries(Engine.methods as Record<EngineMethod, AnyMethod>).map(([name, { kind }]) => {
    const run = (requests: AsyncIterable<object>, signal: AbortSignal) =>
      source(name as EngineMethod, requests, signal);
    const handlers = {
      unary: (request: object, { signal }: Call) => only(run(once(request), signal), name),
      'server-stream': (request: object, { signal }: Call) => run(once(request), signal),
      'client-stream': (requests: AsyncIterable<object>, { signal }: Call) => only(run(requests, signal), name),
      bidi: (requests: AsyncIterable<object>, { signal }: Call) => run(requests, signal),
    };
    return [name, handlers[kind]];
  });
  return Object.fromEntries(entries) as Handlers<typeof Engine>;
}

interface Asked {
  readonly method: EngineMethod;
  readonly requests: AsyncIterable<object>;
}

async function* relayed(
  view: View,
  relays: RelayBroker,
  { method, requests }: Asked,
  signal: AbortSignal,
): AsyncIterable<object> {
  const { request, response } = Engine.methods[method] as AnyMethod;
  const reader = requests[Symbol.asyncIterator]();
  const next = await untilAborted(reader.next(), signal);
  if (next.done === true) throw new ClusterError('invalid', 'the call ended before it said what is to be done');
  const { target, first } = aim(view, method, next.value);
  const encoded = encodedOf(request, first, reader);
  for await (const bytes of relays.call({ target, method, requests: encoded }, signal)) yield response.decode(bytes);
}

async function* encodedOf(
  codec: AnyMethod['request'],
  first: object,
  reader: AsyncIterator<object>,
): AsyncGenerator<Uint8Array> {
  yield codec.encode(first).finish();
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
    yield codec.encode(next.value).finish();
  }
}

async function* asked(
  client: Client<typeof Engine>,
  { method, requests }: Asked,
  signal: AbortSignal,
): AsyncIterable<object> {
  const { kind } = Engine.methods[method] as AnyMethod;
  // biome-ignore lint/suspicious/noExplicitAny: called by kind, as the table says; messages pass as they are
  const call = client[method] as any;
  if (kind === 'bidi') yield* call(requests, { signal });
  else if (kind === 'client-stream') yield await call(requests, { signal });
  else {
    const { value: request } = await requests[Symbol.asyncIterator]().next();
    if (kind === 'unary') yield await call(request, { signal });
    else yield* call(request, { signal });
  }
}

async function* once(request: object): AsyncIterable<object> {
  yield request;
}

async function only(answers: AsyncIterable<object>, method: string): Promise<never> {
  for await (const answer of answers) return answer as never;
  throw new ClusterError('internal', `a node answered nothing to ${method}`);
}
