/**
 * The process behind `cluster up`: brings the cluster up step by step, then supervises it and answers on a socket.
 * Started detached with the cluster's directory and the seconds it may take; a second one for the same directory ends at
 * once.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../common/clock.ts';
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { createCa, issue } from '../../common/tls/certificate.ts';
import { loadImage, withControl } from './client.ts';
import { type Answer, type Ask, readLayout, socketOf } from './door.ts';
import { buildDemoImages } from './images.ts';
import type { DevHost, Layout } from './layout.ts';
import { ETCD_PORT, PORT } from './layout.ts';
import { statusOf } from './status.ts';
import { agentFlags, managerFlags, onHost, program, Supervisor } from './supervisor.ts';
import { plugIn } from './wires.ts';

class Daemon {
  readonly #layout: Layout;
  readonly #supervisor: Supervisor;
  #stage = 'starting';
  #failure: string | undefined;
  #ready = false;

  constructor(layout: Layout) {
    this.#layout = layout;
    this.#supervisor = new Supervisor(layout);
  }

  /** From nothing, or from whatever a crash left, to a cluster whose nodes are all ready. */
  async bringUp(seconds: number): Promise<void> {
    const layout = this.#layout;
    const signal = AbortSignal.timeout(seconds * 1_000);
    const of = (kind: DevHost['kind']) => layout.hosts.filter((host) => host.kind === kind);
    this.#say('plugging in the hosts');
    plugIn(layout);
    for (const host of of('etcd')) {
      this.#say('starting etcd');
      await certify(host);
      this.#supervisor.keep(host);
    }
    const [first] = of('manager');
    if (first === undefined) throw new ClusterError('internal', 'a layout without managers');
    if (!existsSync(layout.context)) {
      this.#say('making the cluster');
      for (const host of of('etcd')) await retry(() => opens(host, ETCD_PORT), signal);
      runOn(first, program('manager', 'init', ...managerFlags(layout, first), '--context', layout.context));
    }
    this.#say('starting the managers');
    for (const host of of('manager')) this.#supervisor.keep(host);
    const token = await retry(
      () => withControl(layout.context, async (control) => (await control.getJoinToken({}, { signal })).token),
      signal,
    );
    for (const host of of('agent')) {
      if (!existsSync(join(host.stateDir, 'identity.json'))) {
        this.#say(`joining ${host.name}`);
        const door = `${first.address}:${PORT}`;
        runOn(host, program('agent', 'join', ...agentFlags(layout, host), '--token', '-', door), token);
      }
      this.#supervisor.keep(host);
    }
    this.#say('loading the demo images');
    for (const image of await buildDemoImages(join(layout.dir, 'images'))) {
      if (image.reference.startsWith('web:')) await loadImage(layout.context, image.path, signal);
    }
    this.#say('waiting for the nodes');
    await retry(() => allReady(layout, of('agent').length, signal), signal);
    this.#ready = true;
    this.#say('ready');
  }

  fails(error: unknown): void {
    this.#failure = explain(toClusterError(error));
  }

  async answer(ask: Ask): Promise<Answer> {
    switch (ask.verb) {
      case 'status': {
        const status = statusOf(this.#layout, (name) => this.#supervisor.pidOf(name));
        return {
          ok: true,
          stage: this.#stage,
          ready: this.#ready,
          ...(this.#failure === undefined ? {} : { failure: this.#failure }),
          status,
        };
      }
      case 'fail':
        await this.#supervisor.fail(ask.host, ask.fault);
        return { ok: true };
      case 'heal':
        this.#supervisor.heal(ask.host);
        return { ok: true };
      case 'down':
        await this.#supervisor.close();
        setImmediate(() => process.exit(0));
        return { ok: true };
    }
  }

  #say(stage: string): void {
    this.#stage = stage;
    console.log(`${new Date().toISOString()} ${stage}`);
  }
}

/** Certificates for an etcd that is its own host: a CA of its own, one certificate for server and clients. */
async function certify(host: DevHost): Promise<void> {
  mkdirSync(host.stateDir, { recursive: true, mode: 0o700 });
  mkdirSync(host.runDir, { recursive: true, mode: 0o700 });
  const file = (name: string) => join(host.stateDir, name);
  if (existsSync(file('key.pem'))) return;
  const now = Date.now();
  const ca = await createCa('etcd', now);
  const validity = { now, lifetimeMs: 365 * 24 * 3_600_000 };
  const own = await issue(ca, { role: 'manager', id: 'etcd', clusterId: 'etcd', addresses: [host.address] }, validity);
  writeFileSync(file('ca.pem'), ca.certificate, { mode: 0o600 });
  writeFileSync(file('cert.pem'), own.certificate, { mode: 0o600 });
  writeFileSync(file('key.pem'), own.key, { mode: 0o600 });
}

function runOn(host: DevHost, argv: readonly string[], input = ''): void {
  mkdirSync(host.runDir, { recursive: true, mode: 0o700 });
  const [command, ...args] = onHost(host, argv);
  execFileSync(command as string, args, { input, stdio: ['pipe', 'ignore', 'inherit'] });
}

/** Rejects while nothing listens there. */
async function opens(host: DevHost, port: number): Promise<void> {
  const socket = connect({ host: host.address, port });
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}

async function allReady(layout: Layout, count: number, signal: AbortSignal): Promise<void> {
  await withControl(layout.context, async (control) => {
    const { nodes } = await control.listNodes({}, { signal });
    const ready = nodes.filter((node) => node.status?.state === 'ready').length;
    if (ready < count) throw new ClusterError('unavailable', `${ready} of ${count} nodes are ready`);
  });
}

async function retry<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (cause) {
      if (signal.aborted) throw cause;
      await systemClock.sleep(100, signal).catch(() => {
        throw cause;
      });
    }
  }
}

function listen(path: string, daemon: Daemon): Server {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    createInterface({ input: socket }).on('line', (line) => {
      void Promise.resolve()
        .then(() => daemon.answer(JSON.parse(line) as Ask))
        .catch((error: unknown): Answer => ({ ok: false, error: explain(toClusterError(error)) }))
        .then((answer) => socket.end(`${JSON.stringify(answer)}\n`));
    });
  });
  server.listen(path);
  return server;
}

const layout = readLayout(process.argv[2] ?? '');
mkdirSync(layout.runDir, { recursive: true, mode: 0o700 });
writeFileSync(join(layout.runDir, 'supervisor.pid'), `${process.pid}\n`);
const daemon = new Daemon(layout);
listen(socketOf(layout), daemon);
process.on('SIGTERM', () => void daemon.answer({ verb: 'down' }));
daemon.bringUp(Number(process.argv[3])).catch((error: unknown) => {
  console.error(error);
  daemon.fails(error);
});
