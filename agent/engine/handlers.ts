/** Engine's methods of containers without a service: messages in, one verb each, messages out. */
import { cpus, totalmem } from 'node:os';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { type ContainerSpec, containerSpecFlaw } from '../../common/model/container.ts';
import { fromContainerSpec, toContainerSpec } from '../../common/wire/container.ts';
import { oneOf, present } from '../../common/wire/fields.ts';
import type { covey } from '../../proto/messages.ts';
import type { Engine } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import { served } from '../exec/handler.ts';
import { readLog } from '../logs/reader.ts';
import { exitOf } from '../runtime/exec-exit.ts';
import { resourcesOf } from '../runtime/oci-resources.ts';
import type { Runtime, Stats } from '../runtime/runtime.ts';
import type { ContainerEngine } from './engine.ts';
import { networkUseOf } from './network-use.ts';
import { processesOf } from './processes.ts';
import type { Standalone } from './standalone.ts';

const STATS_MS = 1_000;
const RESTARTS = ['no', 'on-failure', 'always', 'unless-stopped'] as const;

export interface ContainerHandlerTools {
  readonly node: { readonly id: string; readonly hostname: string };
  readonly engine: ContainerEngine;
  readonly runtime: Runtime;
  readonly clock: Clock;
}

type All = Handlers<typeof Engine>;
type Verbs = Pick<
  All,
  | 'createContainer'
  | 'listContainers'
  | 'inspectContainer'
  | 'startContainer'
  | 'stopContainer'
  | 'killContainer'
  | 'pauseContainer'
  | 'removeContainer'
  | 'listVolumes'
  | 'removeVolume'
  | 'renameContainer'
  | 'updateContainer'
  | 'waitContainer'
>;
type Streams = Pick<All, 'attach' | 'containerLogs' | 'containerStats' | 'containerTop'>;

export function containerHandlers(tools: ContainerHandlerTools): Verbs & Streams {
  return { ...verbs(tools), ...streams(tools) };
}

function verbs(tools: ContainerHandlerTools): Verbs {
  const { engine, node } = tools;
  return {
    createContainer: async ({ id, spec }, { signal }) =>
      viewOf(await engine.create(id, fromContainerSpec(present(spec, 'spec')), signal), node),
    listContainers: async () => ({ containers: engine.all.map((each) => viewOf(each, node)) }),
    inspectContainer: async ({ container }) => viewOf(engine.find(container), node),
    startContainer: ({ container }, { signal }) => started(engine.find(container), signal),
    stopContainer: async ({ container, graceMs, restart, signal: stopSignal }, { signal }) => {
      const found = engine.find(container);
      const wish = { ...(typeof graceMs === 'number' && { graceMs }), ...(stopSignal !== '' && { stopSignal }) };
      await (restart ? found.restart(wish, signal) : found.stop(wish, signal));
      return {};
    },
    killContainer: async ({ container, signal }) => {
      await engine.find(container).kill(signal);
      return {};
    },
    pauseContainer: async ({ container, resume }) => {
      await (resume ? engine.find(container).resume() : engine.find(container).pause());
      return {};
    },
    removeContainer: async ({ container, force, volumes }) => {
      await engine.find(container).remove({ force, volumes });
      return {};
    },
    listVolumes: async () => ({
      volumes: (await engine.volumes()).map((volume) => ({ ...volume, containers: [...volume.containers] })),
    }),
    removeVolume: async ({ name }, { signal }) => {
      await engine.removeVolume(name, signal);
      return {};
    },
    renameContainer: async ({ container, name }) => {
      const found = engine.find(container);
      await found.respec({ ...found.record.spec, name });
      return {};
    },
    updateContainer: async (request) => {
      await update(tools, request);
      return {};
    },
    waitContainer: async ({ container }, { signal }) => await engine.find(container).wait(signal),
  };
}

function streams(tools: ContainerHandlerTools): Streams {
  const { engine } = tools;
  return {
    attach: (inputs, { signal }) => attach(engine, inputs, signal),
    containerLogs: ({ container, follow, tail, since }, { signal }) =>
      logLines(tools, engine.find(container), { follow, tail, since }, signal),
    containerStats: ({ container, follow }, { signal }) => usage(tools, engine.find(container), follow, signal),
    containerTop: ({ container, arguments: args }, { signal }) => {
      const found = engine.find(container);
      if (found.isRunning) return processesOf(found.pid, args, signal);
      throw new ClusterError('conflict', `container ${found.record.spec.name} is not running`);
    },
  };
}

async function started(container: Standalone, signal: AbortSignal): Promise<covey.v1.ContainerExit.$Properties> {
  try {
    await container.start(signal);
    return {};
  } catch (cause) {
    const exit = exitOf(cause);
    if (exit === undefined) throw cause;
    return exit;
  }
}

/** A container as it is at this moment. */
function viewOf(container: Standalone, node: ContainerHandlerTools['node']): covey.v1.ContainerView.$Properties {
  const { record, state, pid, health, logPath } = container;
  const { id, spec, createdAt, startedAt, finishedAt, exitCode, oomKilled, error, restarts: restartCount } = record;
  const times = { createdAt, startedAt, finishedAt, exitCode, oomKilled, error, restartCount };
  const address = container.attachment?.address ?? '';
  return {
    id,
    name: spec.name,
    nodeId: node.id,
    nodeName: node.hostname,
    spec: toContainerSpec(spec),
    state,
    pid,
    address,
    health,
    logPath,
    command: [...record.command],
    ...times,
  };
}

async function* attach(
  engine: ContainerEngine,
  inputs: AsyncIterable<covey.v1.ExecInput>,
  signal: AbortSignal,
): AsyncIterable<covey.v1.ExecOutput.$Properties> {
  const reader = inputs[Symbol.asyncIterator]();
  const first = await reader.next();
  const start = first.done === true ? undefined : first.value.start;
  if (!start) throw new ClusterError('invalid', 'an attachment begins with what is attached to', { field: 'start' });
  const container = engine.find(start.container);
  const types = { types: start.stdin };
  try {
    const session = start.begin ? await container.start(signal, types) : await container.attach(types, signal);
    const tty = container.record.spec.template.container.tty === true;
    if (session === undefined) throw new ClusterError('internal', 'an attachment has no streams');
    const { rows = 0, columns = 0 } = start.size ?? {};
    if (tty && rows > 0 && columns > 0) session.resize({ rows, columns });
    for await (const output of served(session, { ...start, tty }, { reader, signal })) {
      // What is asked next is to find it ended.
      if (output.exit && !session.isDetached) await container.settled(signal);
      yield output;
    }
  } catch (cause) {
    const exit = start.begin ? exitOf(cause) : undefined;
    if (exit === undefined) throw cause;
    yield { exit };
  }
}

async function* logLines(
  { clock }: ContainerHandlerTools,
  container: Standalone,
  { follow, tail, since }: { readonly follow: boolean; readonly tail: number; readonly since: number },
  signal: AbortSignal,
): AsyncIterable<covey.v1.LogLine.$Properties> {
  const { log } = container.record.spec.template.container;
  if (log?.driver === 'none') {
    throw new ClusterError('conflict', 'configured logging driver does not support reading', {
      hint: 'its log driver is none: nothing is kept',
    });
  }
  if (container.logPath === '') return;
  const isGrowing = (): boolean => follow && (container.isRunning || container.state === 'restarting');
  for await (const entries of readLog({ path: container.logPath, tail, since, isGrowing, clock }, signal))
    yield* entries;
}

async function* usage(
  { runtime, clock }: ContainerHandlerTools,
  container: Standalone,
  follow: boolean,
  signal: AbortSignal,
): AsyncIterable<covey.v1.ContainerUsage.$Properties> {
  for (;;) {
    const at = clock.now();
    if (!container.isRunning) {
      yield { at };
      return;
    }
    const used = usageOf(await runtime.stats(container.record.id), at);
    // The host's network is not the container's own.
    const { network } = container.record.spec;
    yield { ...used, ...(network === 'host' ? {} : await networkUseOf(container.pid)) };
    if (!follow) return;
    await clock.sleep(STATS_MS, signal);
  }
}

function usageOf({ cpu, memory, pids, io }: Stats, at: number): covey.v1.ContainerUsage.$Properties {
  return {
    at,
    cpuNanos: cpu.usageNanos,
    cpus: cpus().length,
    memoryBytes: memory.workingSetBytes,
    memoryLimitBytes: Math.min(memory.limitBytes ?? totalmem(), totalmem()),
    pids: pids.count,
    readBytes: io.reduce((sum, each) => sum + each.readBytes, 0),
    writtenBytes: io.reduce((sum, each) => sum + each.writeBytes, 0),
  };
}

/** What runs is changed first: a limit that the kernel refuses is not remembered. */
async function update(
  { engine, runtime }: ContainerHandlerTools,
  request: covey.v1.UpdateContainerRequest,
): Promise<void> {
  const container = engine.find(request.container);
  const { spec } = container.record;
  const { nanoCpus, memoryBytes, memorySwapBytes, pids } = request;
  const given = {
    ...(nanoCpus === null || nanoCpus === undefined ? {} : { nanoCpus }),
    ...(memoryBytes === null || memoryBytes === undefined ? {} : { memoryBytes }),
    ...(memorySwapBytes === null || memorySwapBytes === undefined ? {} : { memorySwapBytes }),
    ...(pids === null || pids === undefined ? {} : { pids }),
  };
  const limits = { ...spec.template.limits, ...given };
  const next = { ...spec, template: { ...spec.template, limits }, ...restartOf(request) };
  const flaw = containerSpecFlaw(next);
  if (flaw !== undefined) throw new ClusterError('invalid', flaw.message, { field: flaw.field, hint: flaw.hint });
  if (container.isRunning && Object.keys(given).length > 0) {
    const { devices: _devices, ...resources } = resourcesOf(limits, 'none');
    const lifted = {
      ...(given.nanoCpus === 0 ? { cpu: { quota: -1 } } : {}),
      ...(given.memoryBytes === 0 ? { memory: { limit: -1 } } : {}),
      ...(given.pids === 0 ? { pids: { limit: -1 } } : {}),
    };
    await runtime.update(container.record.id, { ...resources, ...lifted });
  }
  await container.respec(next);
}

function restartOf({ restart, restartMax }: covey.v1.UpdateContainerRequest): Partial<ContainerSpec> {
  if (restart === null || restart === undefined) return {};
  return { restart: oneOf(restart, RESTARTS, 'restart'), restartMax };
}
