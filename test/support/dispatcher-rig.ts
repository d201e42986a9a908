/** A dispatcher with pretend agents, driven by a fake clock: no gRPC, no waiting. */
import { Queue } from '../../common/iterate.ts';
import { noLog } from '../../common/log.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Port } from '../../common/model/service.ts';
import { COALESCE_MS, Dispatcher } from '../../manager/dispatcher/dispatcher.ts';
import type { ManagerMessage } from '../../manager/dispatcher/session.ts';
import { Swarms } from '../../manager/mesh/swarms.ts';
import { covey } from '../../proto/messages.ts';
import { type ClusterBuilder, cluster } from './cluster-builder.ts';
import { FakeClock, settle } from './fake-clock.ts';
import type { MemoryReign } from './memory-store.ts';

export const HTTP: Port = { protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' };
export const running = { status: { state: 'running' } } as const;

/** An agent that says what a test tells it to, and keeps what it hears. */
export class Agent {
  readonly heard: ManagerMessage[] = [];
  end: unknown;
  readonly #out: Queue<covey.v1.AgentMessage>;
  readonly #gone = new AbortController();

  constructor(dispatcher: Dispatcher, node: string, stop: AbortSignal) {
    this.#out = new Queue(100, stop);
    const listen = async (): Promise<void> => {
      for await (const message of dispatcher.session(node as NodeId, this.#out, this.#gone.signal)) {
        this.heard.push(message);
      }
    };
    listen().then(
      () => {
        this.end ??= 'clean';
      },
      (cause: unknown) => {
        this.end = cause;
      },
    );
  }

  say(message: covey.v1.AgentMessage.$Properties): this {
    this.#out.push(covey.v1.AgentMessage.decode(covey.v1.AgentMessage.encode(message).finish()));
    return this;
  }

  hello(node: string, unfit = ''): this {
    return this.say({ hello: { description: { hostname: node, address: '192.0.2.1' }, unfit } });
  }

  leave(): void {
    this.#gone.abort();
  }

  get assignments() {
    return this.heard.flatMap(({ assignments }) => (assignments ? [assignments] : []));
  }

  get last() {
    return this.assignments.at(-1);
  }
}

export interface World {
  readonly cluster: ClusterBuilder;
  readonly clock: FakeClock;
  readonly dispatcher: Dispatcher;
  readonly reign: MemoryReign;
  register(node: string): Promise<Agent>;
  /** Lets everything happen that takes no longer than this. */
  pass(ms?: number): Promise<void>;
}

/** The dispatcher rules over what is built so far, until `stop` is aborted. */
export async function dispatching(
  builder: ClusterBuilder,
  stop: AbortSignal,
  options: { readonly skipDrain: boolean } = { skipDrain: false },
): Promise<World> {
  const clock = new FakeClock(100_000);
  const reign = builder.store.etcd.enthrone({ managerId: 'm1' as never, address: 'm1:1' }, clock.now());
  const swarms = new Swarms({ addressOf: () => undefined, clock, random: () => 0 });
  const dispatcher = new Dispatcher({
    store: builder.store,
    reign,
    swarms,
    claims: { heard: () => {} },
    clock,
    log: noLog,
    ...options,
  });
  dispatcher.run(stop).catch(() => {});
  const pass = async (ms = 20): Promise<void> => {
    await settle();
    for (let passed = 0; passed < ms; passed += COALESCE_MS) {
      clock.advance(COALESCE_MS);
      await settle();
    }
  };
  const register = async (node: string): Promise<Agent> => {
    const agent = new Agent(dispatcher, node, stop).hello(node);
    await pass();
    return agent;
  };
  return { cluster: builder, clock, dispatcher, reign, register, pass };
}

/** Two nodes that are not there yet, each with a task of the published service. */
export function web(): ClusterBuilder {
  return cluster(2)
    .silent('n1', 0)
    .silent('n2', 0)
    .service('web', { replicas: 2, ports: [HTTP] })
    .task('web.1', { node: 'n1', address: '10.64.1.2', ...running })
    .task('web.2', { node: 'n2', address: '10.64.2.2', ...running });
}
