/** A manager without a cluster: a real server on loopback whose every session the test conducts. */
import { ClusterError } from '../../common/errors.ts';
import { Queue, untilAborted, withResolvers } from '../../common/iterate.ts';
import { noLog } from '../../common/log.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { rpcServer } from '../../common/rpc.ts';
import { createCa, issue, type KeyedCertificate, sign } from '../../common/tls/certificate.ts';
import type { Identity } from '../../common/tls/identity.ts';
import type { covey } from '../../proto/messages.ts';
import { Ca, Dispatcher } from '../../proto/methods.ts';
import type { RpcServer } from '../../proto/rpc-server.ts';

export const CLUSTER = 'c1';
const LIFE_MS = 3_600_000;

type ManagerMessage = covey.v1.ManagerMessage.$Properties;

/** One agent's session as the manager has it. */
export class ScriptedSession {
  readonly #out: Queue<ManagerMessage>;
  readonly #said: covey.v1.AgentMessage[] = [];
  #changed = withResolvers<void>();

  constructor(signal: AbortSignal) {
    this.#out = new Queue(1_000, signal);
    signal.addEventListener('abort', () => this.#changed.resolve());
  }

  /** Everything the agent has said, in order. */
  get said(): readonly covey.v1.AgentMessage[] {
    return this.#said;
  }

  get outgoing(): Queue<ManagerMessage> {
    return this.#out;
  }

  send(message: ManagerMessage): void {
    this.#out.push(message);
  }

  welcome(reign = 1, failoverAfterMs = 15_000): void {
    this.send({ welcome: { epoch: { incarnation: 1, reign }, nodeId: 'n1', managers: [], failoverAfterMs } });
  }

  /** Resolves to what `find` finds in what the agent has said. */
  async hears<T>(find: (message: covey.v1.AgentMessage) => T | undefined | null | false): Promise<T> {
    const deadline = AbortSignal.timeout(10_000);
    for (;;) {
      for (const message of this.#said) {
        const found = find(message);
        if (found !== undefined && found !== null && found !== false) return found;
      }
      await untilAborted(this.#changed.promise, deadline);
    }
  }

  /** Resolves when the agent has reported this state of the task. */
  hearsState(taskId: string, state: string): Promise<covey.v1.ITaskStatus> {
    return this.hears((message) =>
      message.report?.statuses?.find((status) => status.taskId === taskId && status.state === state),
    );
  }

  take(message: covey.v1.AgentMessage): void {
    this.#said.push(message);
    if (message.report) this.send({ reportAck: { sequence: message.report.sequence ?? 0 } });
    const changed = this.#changed;
    this.#changed = withResolvers();
    changed.resolve();
  }
}

export class ScriptedManager {
  readonly #server: RpcServer;
  readonly #sessions: Queue<ScriptedSession>;
  readonly #ca: KeyedCertificate;
  /** Lines published, by request. */
  readonly lines: covey.v1.ILogLine[] = [];
  /** Answers every session with this. */
  refusal: ClusterError | undefined;
  port = 0;

  private constructor(ca: KeyedCertificate) {
    this.#ca = ca;
    this.#server = rpcServer(ca.certificate, noLog);
    this.#sessions = new Queue(100, new AbortController().signal);
  }

  static async listen(ca: KeyedCertificate, port = 0): Promise<ScriptedManager> {
    const manager = new ScriptedManager(ca);
    manager.#serve();
    const own = await issue(
      ca,
      { role: 'manager', id: 'm1', clusterId: CLUSTER },
      { now: Date.now(), lifetimeMs: LIFE_MS },
    );
    manager.port = await manager.#server.listen(`127.0.0.1:${port}`, { ca: ca.certificate, ...own });
    return manager;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The next session that an agent opens. */
  async session(): Promise<ScriptedSession> {
    const next = await untilAborted(this.#sessions.next(), AbortSignal.timeout(20_000));
    if (next.done === true) throw new ClusterError('internal', 'no more sessions');
    return next.value;
  }

  async close(): Promise<void> {
    await this.#server.close(0);
  }

  #serve(): void {
    const manager = this;
    this.#server.add(
      Dispatcher,
      {
        async *session(messages, call) {
          if (manager.refusal !== undefined) throw manager.refusal;
          const session = new ScriptedSession(call.signal);
          manager.#sessions.push(session);
          listen(session, messages).catch(() => session.outgoing.end());
          yield* session.outgoing;
        },
        async publishLogs(messages) {
          for await (const { lines } of messages) manager.lines.push(...(lines ?? []));
          return {};
        },
        relay() {
          throw new ClusterError('not_found', 'no call was scripted');
        },
      },
      ['worker'],
    );
    this.#server.addMethod(
      Ca,
      'renew',
      async ({ csr }) => ({
        nodeId: 'n1',
        certificate: await sign(
          this.#ca,
          csr ?? '',
          { role: 'worker', id: 'n1', clusterId: CLUSTER },
          { now: Date.now(), lifetimeMs: LIFE_MS },
        ),
        ca: this.#ca.certificate,
        clusterId: CLUSTER,
        managers: [],
      }),
      ['worker'],
    );
  }
}

async function listen(session: ScriptedSession, messages: AsyncIterable<covey.v1.AgentMessage>): Promise<void> {
  for await (const message of messages) session.take(message);
  session.outgoing.end();
}

/** A CA of its own for one test file. */
export function aCa(): Promise<KeyedCertificate> {
  return createCa(CLUSTER, Date.now());
}

/** Node n1's identity. @param lifetimeMs  from now */
export async function anIdentity(
  ca: KeyedCertificate,
  managers: readonly string[],
  lifetimeMs = LIFE_MS,
): Promise<Identity> {
  const id = 'n1' as NodeId;
  const own = await issue(ca, { role: 'worker', id, clusterId: CLUSTER }, { now: Date.now(), lifetimeMs });
  return { id, clusterId: CLUSTER, ca: ca.certificate, managers, ...own };
}
