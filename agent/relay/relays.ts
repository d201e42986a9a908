/**
 * Serves users' calls for managers: one call back per call, with what the handler answers; what the user says comes back
 * on it. When that call ends, for whatever reason, the handler's signal is aborted. Nothing that passes is logged.
 */
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import { toErrorInfo } from '../../common/rpc.ts';
import type { covey } from '../../proto/messages.ts';
import { type AnyMethod, Dispatcher, Engine } from '../../proto/methods.ts';
import type { Call, Handlers } from '../../proto/rpc.ts';
import type { RpcChannel } from '../../proto/rpc-channel.ts';

type RelayUp = covey.v1.RelayUp.$Properties;
type RelayDown = covey.v1.RelayDown;

/** Calls at once; each holds a stream, and what its handler takes. */
const CALLS_MAX = 256;

// biome-ignore lint/suspicious/noExplicitAny: handlers are typed by the table; here they are called by kind
type AnyHandler = (...args: any[]) => any;

interface Asked {
  readonly id: string;
  readonly method: string;
}

export class Relays {
  readonly #handlers: Handlers<typeof Engine>;
  readonly #log: Log;
  readonly #open = new Map<string, AbortController>();

  constructor(handlers: Handlers<typeof Engine>, log: Log) {
    this.#handlers = handlers;
    this.#log = log;
  }

  /** Serves it in the background, over a call of its own on the session's connection. */
  begin({ id = '', method = '' }: covey.v1.RelayRequest.$Properties, channel: RpcChannel): void {
    const stop = new AbortController();
    this.#open.set(id, stop);
    this.#log.debug({ requestId: id, method }, 'a call begins');
    this.#serve({ id, method }, channel, stop)
      .catch((cause: unknown) => {
        if (!stop.signal.aborted) this.#log.debug({ requestId: id, method, cause }, 'a call was broken off');
      })
      .finally(() => {
        stop.abort();
        this.#open.delete(id);
      });
  }

  /** The user has gone. */
  end(id: string): void {
    this.#open.get(id)?.abort();
  }

  /** The session has ended: nobody could say any more when a user has gone. */
  endAll(): void {
    for (const stop of this.#open.values()) stop.abort();
  }

  async #serve({ id, method }: Asked, channel: RpcChannel, stop: AbortController): Promise<void> {
    const { signal } = stop;
    const said = withResolvers<AsyncIterator<RelayDown>>();
    const answers = this.#answer(id, method, said.promise, signal);
    const inputs = channel.service(Dispatcher).relay(answers.messages, { signal })[Symbol.asyncIterator]();
    // Calls begin with their first read.
    const first = inputs.next();
    first.catch((cause: unknown) => stop.abort(cause));
    said.resolve(startingWith(first, inputs));
    await untilAborted(answers.over, signal);
    // The manager ends the call when it has heard the last of it.
    for (let next = await first; next.done !== true; next = await inputs.next());
  }

  #answer(
    id: string,
    method: string,
    said: Promise<AsyncIterator<RelayDown>>,
    signal: AbortSignal,
  ): { messages: AsyncIterable<RelayUp>; over: Promise<void> } {
    const over = withResolvers<void>();
    const answers = (): AsyncIterable<Uint8Array> => this.#run(method, said, signal);
    const isFull = this.#open.size > CALLS_MAX;
    async function* messages(): AsyncIterable<RelayUp> {
      try {
        yield { requestId: id };
        if (isFull) throw full();
        for await (const message of answers()) yield { message };
        yield { end: {} };
      } catch (cause) {
        yield { error: toErrorInfo(toClusterError(cause)) };
      } finally {
        over.resolve();
      }
    }
    return { messages: messages(), over: over.promise };
  }

  async *#run(method: string, said: Promise<AsyncIterator<RelayDown>>, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const known = (Engine.methods as Readonly<Record<string, AnyMethod>>)[method];
    if (known === undefined) {
      throw new ClusterError('invalid', `this node's agent does not know "${method}"`, { hint: 'upgrade the agent' });
    }
    const handler = this.#handlers[method as keyof typeof Engine.methods] as AnyHandler;
    const call: Call = { peer: undefined, signal };
    const requests = requestsOf(await said, known.request, signal);
    const hasMany = known.kind === 'client-stream' || known.kind === 'bidi';
    const request = hasMany ? requests : (await requests.next()).value;
    const answer = handler(request, call);
    if (known.kind === 'unary' || known.kind === 'client-stream') yield known.response.encode(await answer).finish();
    else for await (const message of answer) yield known.response.encode(message).finish();
  }
}

async function* requestsOf(
  inputs: AsyncIterator<RelayDown>,
  codec: AnyMethod['request'],
  signal: AbortSignal,
): AsyncGenerator<object> {
  for (;;) {
    const next = await untilAborted(inputs.next(), signal);
    if (next.done === true || next.value.message === null || next.value.message === undefined) return;
    yield codec.decode(next.value.message);
  }
}

function startingWith<T>(first: Promise<IteratorResult<T>>, rest: AsyncIterator<T>): AsyncIterator<T> {
  let isFirst = true;
  return {
    next: () => {
      if (!isFirst) return rest.next();
      isFirst = false;
      return first;
    },
  };
}

function full(): ClusterError {
  return new ClusterError('exhausted', `this node serves ${CALLS_MAX} calls already`, { hint: 'end some of them' });
}
